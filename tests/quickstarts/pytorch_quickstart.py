"""PyTorch's own first tutorial, in other words: https://docs.pytorch.org/tutorials/beginner/basics/quickstart_tutorial.html

The same calls with the same arguments in the same order, and no word of unvanish.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import ToTensor

training_data = datasets.FashionMNIST(root="data", train=True, download=True, transform=ToTensor())
test_data = datasets.FashionMNIST(root="data", train=False, download=True, transform=ToTensor())
train_dataloader = DataLoader(training_data, batch_size=64)
test_dataloader = DataLoader(test_data, batch_size=64)
for images, labels in test_dataloader:
    print("a batch:", images.shape, labels.shape, labels.dtype)
    break

accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
device = accelerator.type if accelerator is not None else "cpu"
print("on", device)


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
        )

    def forward(self, x):
        return self.linear_relu_stack(self.flatten(x))


model = NeuralNetwork().to(device)
print(model)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)


def train(dataloader, model, loss_fn, optimizer):
    model.train()
    for batch, (images, labels) in enumerate(dataloader):
        images, labels = images.to(device), labels.to(device)
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if batch % 100 == 0:
            print("loss", loss.item(), "after", (batch + 1) * len(images))


def test(dataloader, model, loss_fn):
    model.eval()
    total, right = 0.0, 0.0
    with torch.no_grad():
        for images, labels in dataloader:
            images, labels = images.to(device), labels.to(device)
            guessed = model(images)
            total += loss_fn(guessed, labels).item()
            right += (guessed.argmax(1) == labels).type(torch.float).sum().item()
    print("right", right / len(dataloader.dataset), "loss", total / len(dataloader))


for epoch in range(5):
    print("epoch", epoch + 1)
    train(train_dataloader, model, loss_fn, optimizer)
    test(test_dataloader, model, loss_fn)

torch.save(model.state_dict(), "model.pth")
model = NeuralNetwork().to(device)
model.load_state_dict(torch.load("model.pth", weights_only=True))
model.eval()
image, label = test_data[0][0], test_data[0][1]
with torch.no_grad():
    print("guessed", model(image.to(device))[0].argmax(0).item(), "for", label)
