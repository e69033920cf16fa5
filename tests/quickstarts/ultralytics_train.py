"""Python usage of Ultralytics, in other words: https://docs.ultralytics.com/usage/python/

The same calls with the same arguments in the same order, and no word of unvanish; the picture to
look at is a file, and the export to another format, which needs another library, is left out.
"""

from ultralytics import YOLO

model = YOLO("yolo26n.yaml")
model = YOLO("yolo26n.pt")
results = model.train(data="coco8.yaml", epochs=3)
results = model.val()
results = model("bus.jpg")
