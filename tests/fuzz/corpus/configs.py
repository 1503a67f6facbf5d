"""Configs that once caused a failure, or might: by name, the bytes of a config.json."""

ENTRIES = {
    "nothing": lambda: b"",
    "100,000 lists in each other": lambda: b'{"betas": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "500 objects in each other": lambda: b'{"vit": ' * 500 + b"1" + b"}" * 500,
    "a number of 100,000 digits": lambda: b'{"epochs": ' + b"9" * 100_000 + b"}",
    "an integer of 4,000 digits for a real number": lambda: b'{"lr": ' + b"9" * 4_000 + b"}",
    "an exponent beyond any": lambda: b'{"lr": 1e999999}',
    "half a surrogate as a name": lambda: b'{"\\ud800": 1}',
    "half a surrogate as a word": lambda: b'{"dataset": "\\ud800"}',
    "a name of 10 MB": lambda: b'{"' + b"x" * 10_000_000 + b'": 1}',
    "a million stages": lambda: b'{"stages": [' + b"1," * 1_000_000 + b"1]}",
    "5,000 stages of a ResNet": lambda: b'{"stem": "resnet", "stages": [' + b"1," * 4_999 + b"1]}",
    "an infinite warm-up": lambda: b'{"warmup": Infinity}',
    "an infinite width": lambda: b'{"mlp_ratio": Infinity}',
    "no number of images": lambda: b'{"train_images": NaN}',
}
