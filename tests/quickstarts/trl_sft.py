"""The first example of TRL's quick start, in other words: https://huggingface.co/docs/trl/quickstart

The same calls with the same arguments in the same order, and no word of unvanish.
"""

from datasets import load_dataset
from trl import SFTTrainer

trainer = SFTTrainer(
    model="Qwen/Qwen2.5-0.5B",
    train_dataset=load_dataset("trl-lib/Capybara", split="train"),
)
trainer.train()
