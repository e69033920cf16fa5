"""The loop of Accelerate's pages, in other words: https://huggingface.co/docs/accelerate/basic_tutorials/migration

The same calls with the same arguments in the same order, and no word of unvanish. The page begins
with a model, data, a loss, an optimizer and a schedule that are there already: here they are those
of https://huggingface.co/docs/transformers/v4.57.0/accelerate: AdamW at 3e-5, three epochs, a linear
schedule.
"""

import torch
from accelerate import Accelerator
from datasets import load_from_disk
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, get_scheduler

rows = load_from_disk("reviews").with_format("torch")
training_dataloader = DataLoader(
    torch.utils.data.TensorDataset(rows["input_ids"][:], rows["labels"][:]),
    shuffle=True,
    batch_size=8,
)
model = AutoModelForSequenceClassification.from_pretrained(
    "google-bert/bert-base-cased", num_labels=5
)
loss_function = torch.nn.CrossEntropyLoss()
optimizer = AdamW(model.parameters(), lr=3e-5)
num_epochs = 3
scheduler = get_scheduler(
    "linear",
    optimizer=optimizer,
    num_warmup_steps=0,
    num_training_steps=num_epochs * len(training_dataloader),
)

accelerator = Accelerator()
model, optimizer, training_dataloader, scheduler = accelerator.prepare(
    model, optimizer, training_dataloader, scheduler
)
model.train()
for _ in range(num_epochs):
    for batch in training_dataloader:
        optimizer.zero_grad()
        inputs, targets = batch
        outputs = model(inputs)
        loss = loss_function(outputs.logits, targets)
        accelerator.backward(loss)
        optimizer.step()
        scheduler.step()
    print("loss", loss.item())
accelerator.wait_for_everyone()
accelerator.save(accelerator.unwrap_model(model).state_dict(), "model.pth")
