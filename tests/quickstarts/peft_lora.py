"""The quick tour of PEFT, in other words: https://huggingface.co/docs/peft/quicktour

The same calls with the same arguments in the same order, and no word of unvanish. The page leaves
the data to its reader: here lines of text, and a measure that counts the words foretold.
"""

from datasets import load_from_disk
from peft import AutoPeftModelForCausalLM, LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

base = "meta-llama/Llama-3.2-1B"
tokenizer = AutoTokenizer.from_pretrained(base)
data_collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
tokenized_datasets = load_from_disk("lines").map(
    lambda rows: tokenizer(rows["text"]), batched=True, remove_columns=["text"]
)
tokenized_datasets = tokenized_datasets.train_test_split(test_size=0.25)


def compute_metrics(predicted):
    logits, labels = predicted
    right = logits[:, :-1].argmax(-1) == labels[:, 1:]
    return {"right": float(right[labels[:, 1:] != -100].mean())}


peft_config = LoraConfig(
    target_modules=["q_proj"],
    task_type=TaskType.CAUSAL_LM,
    inference_mode=False,
    r=8,
    lora_alpha=32,
    lora_dropout=0.1,
)
model = AutoModelForCausalLM.from_pretrained(base)
peft_model = get_peft_model(model, peft_config)
peft_model.print_trainable_parameters()

training_args = TrainingArguments(
    output_dir="your-name/meta-llama/my-llama3.2-adapter",
    learning_rate=1e-3,
    per_device_train_batch_size=32,
    per_device_eval_batch_size=32,
    num_train_epochs=2,
    weight_decay=0.01,
    eval_strategy="epoch",
    save_strategy="epoch",
    load_best_model_at_end=True,
)
trainer = Trainer(
    model=peft_model,
    args=training_args,
    train_dataset=tokenized_datasets["train"],
    eval_dataset=tokenized_datasets["test"],
    data_collator=data_collator,
    compute_metrics=compute_metrics,
)
trainer.train()
peft_model.save_pretrained("output_dir")

model = AutoPeftModelForCausalLM.from_pretrained("output_dir")
model.eval()
inputs = tokenizer("the cat sees", return_tensors="pt")
print(model.generate(input_ids=inputs["input_ids"], max_new_tokens=5))
