# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small tokenizer for the load generator, whose own would have to be fetched from a model hub.

Words of two syllables, one token each, joined by blanks. So a random prompt that is decoded and encoded again has as
many tokens as before: inference-perf drops prompts for which that does not hold, and does not count them.
"""

from __future__ import annotations

import itertools
import json

CONSONANTS, VOWELS = "bdfghjklmnprstvz", "aeiou"
UNKNOWN = "[UNK]"


def words() -> list[str]:
    """List the vocabulary: 6400 words."""
    syllables = [a + b for a in CONSONANTS for b in VOWELS]
    return [first + second for first, second in itertools.product(syllables, repeat=2)]


def files() -> dict[str, str]:
    """Render the folder that transformers loads as a fast tokenizer."""
    vocabulary = {word: number for number, word in enumerate([UNKNOWN, *words()])}
    special = {"id": 0, "content": UNKNOWN, "special": True, "normalized": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**special, **flags}],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN},
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN, "model_max_length": 1 << 20}
    return {
        "tokenizer.json": json.dumps(tokenizer, separators=(",", ":")),
        "tokenizer_config.json": json.dumps(config),
    }
