"""GPT-2 small from its configuration, fresh weights, random tokens: nothing is downloaded.

unvanish diagnose examples/gpt2_small.py:program
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def program():
    torch.manual_seed(0)
    config = GPT2Config()
    model = GPT2LMHeadModel(config)
    tokens = torch.randint(config.vocab_size, (2, 128))
    batch = {"input_ids": tokens, "labels": tokens}, tokens
    return model, batch, lambda out, targets: out.loss
