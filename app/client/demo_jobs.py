"""The two jobs of the demo, sized for two cores and four minutes."""

from pretune.views import Json


def pretrain_spec(dataset_id: str) -> Json:
    return {
        "kind": "pretrain",
        "name": "shakespeare",
        "dataset": dataset_id,
        "method": {
            "type": "causal_language_model",
            "architecture": {
                "type": "transformer",
                "num_layers": 2,
                "width": 192,
                "num_heads": 4,
                "context_length": 128,
            },
            "tokenizer": {"type": "bpe", "vocab_size": 2048},
        },
        "training": {
            "duration": {"steps": 400},
            "batch_size": 32,
            "optimizer": {"type": "adamw", "learning_rate": 0.003},
            "schedule": {"type": "cosine", "warmup_steps": 50},
            "validation_fraction": 0.01,
            "evaluate_every": {"steps": 100},
        },
    }


def finetune_spec(dataset_id: str, parent: str) -> Json:
    return {
        "kind": "finetune",
        "name": "film-reviews",
        "parent": parent,
        "dataset": dataset_id,
        "method": {"type": "classification"},
        "training": {
            "duration": {"epochs": 2},
            "batch_size": 32,
            "optimizer": {"type": "adamw", "learning_rate": 0.001},
            "schedule": {"type": "cosine", "warmup_steps": 20},
        },
    }
