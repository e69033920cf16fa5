"""The quick start of timm, in other words: https://huggingface.co/docs/timm/quickstart

The same calls with the same arguments in the same order, and no word of unvanish. "To fine-tune on
your own dataset, you have to write a PyTorch training loop": the one here takes the optimizer and the
schedule of timm's own pages, https://huggingface.co/docs/timm/reference/optimizers.
"""

import timm
import timm.optim
import torch
from torchvision import datasets

model = timm.create_model("mobilenetv3_large_100", pretrained=True, num_classes=3)
transform = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))
pictures = datasets.ImageFolder("pictures", transform=transform)
loader = torch.utils.data.DataLoader(pictures, batch_size=4, shuffle=True)

loss_function = torch.nn.CrossEntropyLoss()
optimizer = timm.optim.create_optimizer_v2(model, opt="adamw", lr=1e-4)
model.train()
for _ in range(2):
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        print("loss", loss.item())

model.eval()
with torch.no_grad():
    image = pictures[0][0].unsqueeze(0)
    print(torch.topk(torch.nn.functional.softmax(model(image)[0], dim=0), 2))
torch.save(model.state_dict(), "model.pth")
