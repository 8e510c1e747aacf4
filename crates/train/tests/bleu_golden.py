"""Writes bleu_golden.json: what sacrebleu says about many odd corpora.

    pip install sacrebleu==2.6.0
    python crates/train/tests/bleu_golden.py
"""

import itertools
import json
import pathlib
import random

import sacrebleu
from sacrebleu.metrics import BLEU

assert sacrebleu.__version__ == "2.6.0", sacrebleu.__version__

# name: (hypotheses, streams of references)
CORPORA = {
    "equal": (
        ["the cat sat on the mat .", "a dog barked loudly at night ."],
        [["the cat sat on the mat .", "a dog barked loudly at night ."]],
    ),
    "ordinary": (
        [
            "A man in a blue shirt is standing on a ladder cleaning a window.",
            "Two young guys with shaggy hair look at their hands.",
            "A little girl climbing into wooden playhouse",
            "Several men in hard hats are operating a giant pulley system.",
        ],
        [
            [
                "A man in a blue shirt stands on a ladder and cleans a window.",
                "Two young, White males are outside near many bushes.",
                "A little girl is climbing into a wooden playhouse.",
                "Several men in hard hats operate a giant pulley system.",
            ]
        ],
    ),
    "several references": (
        ["the big cat sleeps here", "it is raining again today my friend"],
        [
            ["the large cat sleeps here", "it rains again"],
            ["the big cat is asleep", "today it is raining once more , my friend"],
            ["here the cat , which is big , sleeps", "again it is raining today friend"],
        ],
    ),
    "closest reference, the shorter of two": (
        ["a b c d e"],
        [["a b c d x y z"], ["a b c"], ["a b c d e f g"]],
    ),
    "one word": (["yes"], [["yes"]]),
    "two words": (["yes sir"], [["yes sir"]]),
    "three words of four": (["a b c"], [["a b c d"]]),
    "short among long": (
        ["no", "the quick brown fox jumps over the dog", ""],
        [["no", "the quick brown fox jumped over the lazy dog", "silence"]],
    ),
    "no match": (["x y z w"], [["a b c d e"]]),
    "no pair matches": (["a c b d"], [["d b c a"]]),
    "no triple matches": (["a b x c d y e f"], [["a b c d e f"]]),
    "empty hypothesis": ([""], [["a b c d"]]),
    "empty hypotheses": (["", "  "], [["a b c d", "e"]]),
    "empty reference": (["a b c d"], [[""]]),
    "both empty": ([""], [[""]]),
    "hypothesis too long": (["a b c d e f g h"], [["a b c d"]]),
    "hypothesis far too short": (["a b c d"], [["a b c d e f g h i j k l m n o p q r s t"]]),
    "repeated words": (
        ["the the the the the the the", "a a a b a a a b"],
        [["the cat is on the mat", "a a b a a b a a"]],
    ),
    "numbers": (
        ["It cost 1,000.5 dollars, or 3.14% of $2.50.", "In 1990-1995, 5-6 of 10,000 left."],
        [["It cost 1,000.50 dollars, or 3.14 % of $ 2.50 .", "In 1990 - 1995 , 5 - 6 of 10,000 left ."]],
    ),
    "hyphens and dashes": (
        ["a well-known state-of-the-art 3-year-old, - and -- so –on— too -5"],
        [["a well known state-of-the-art 3 -year-old , - and - - so – on — too - 5"]],
    ),
    "quotes and entities": (
        ["&quot;Hello&quot; &amp; &lt;bye&gt; said 'he' &amp;quot; &apos;x&apos;", "“quoted” «mots» ‘x’"],
        [['"Hello" & <bye> said \' he \' " &apos; x', '" quoted " « mots » x']],
    ),
    "dots": (
        ["Wait... what?! e.g. U.S.A. 3. .5 5.5. ..,, , .", "end.Start,again"],
        [["Wait ... what ? ! e.g. U.S.A. 3 . .5 5.5 . . . , , , .", "end . Start , again"]],
    ),
    "brackets and signs": (
        ["f(x) = [a]{b} | c~d ^ e_f `g` \\h/ i@j #1 k:l;m * n+o"],
        [["f ( x ) = [ a ] { b } | c ~ d ^ e _ f ` g ` \\ h / i @ j # 1 k : l ; m * n + o"]],
    ),
    "skipped and line ends": (
        ["a <skipped>b c d", "soft-\nly now\nand then", "carriage\rreturn and more"],
        [["a b c d", "softly now and then", "carriage return and more"]],
    ),
    "accents": (
        ["l'été dernier, l’homme naïf a mangé des œufs à Noël."],
        [["l'été dernier , l’homme naïf a mangé des œufs à Noël ."]],
    ),
    "composed and decomposed": (["caf\u00e9 noir tr\u00e8s fort"], [["cafe\u0301 noir tre\u0300s fort"]]),
    "cjk": (
        ["我 喜欢 猫 。 猫 也 喜欢 我", "今日は良い天気ですね。", "안녕하세요 여러분 반갑습니다 ."],
        [["我 喜欢 狗 。 狗 也 喜欢 我", "今日は 良い 天気 ですね 。", "안녕하세요 여러분 , 반갑습니다 ."]],
    ),
    "arabic, hindi, emoji": (
        ["مرحبا بالعالم ، كيف حالك ؟", "नमस्ते दुनिया । आप कैसे हैं", "ok 👍🏽 👨‍👩‍👧 !!"],
        [["مرحبا بالعالم كيف حالك ؟", "नमस्ते दुनिया आप कैसे हैं ।", "ok 👍🏽 👨‍👩‍👧 ! !"]],
    ),
    "odd spaces": (
        ["a\u00a0b\u2003c\u3000d\u200be\u2028f", "a\x1cb\x1dc\x1ed\x1fe f\x0bg\x0ch\x85i", "\ta  b   c d  "],
        [["a b c d\u200be f", "a b c d e f g h i", "a b c d"]],
    ),
    "case": (
        ["The CAT Sat ÉTÉ İstanbul ΟΔΥΣΣΕΥΣ ẞ", "ALL CAPS HERE NOW"],
        [["the cat sat été i̇stanbul οδυσσευς ß", "all caps here now"]],
    ),
    "non-Latin digits": (["٣.١٤ and ３.１４ and ², x.y"], [["٣ . ١٤ and ３ . １４ and ² , x . y"]]),
}

SETTINGS = [
    {"tokenize": tokenize, "smooth_method": method, "smooth_value": value, "lowercase": lowercase}
    for tokenize, (method, value), lowercase in itertools.product(
        ["13a", "none"],
        [("exp", None), ("floor", None), ("add-k", None), ("none", None)],
        [False, True],
    )
] + [
    {"tokenize": "13a", "smooth_method": "floor", "smooth_value": 0.015, "lowercase": False},
    {"tokenize": "13a", "smooth_method": "add-k", "smooth_value": 0.5, "lowercase": False},
    {"tokenize": "13a", "smooth_method": "add-k", "smooth_value": 0, "lowercase": False},
]


def cases(name, hypotheses, references):
    base = None
    for setting in SETTINGS:
        # Lower case concerns few corpora: one setting is enough for the others.
        if setting["lowercase"] and name != "case" and setting["smooth_method"] != "exp":
            continue
        metric = BLEU(**setting, force=True)
        score = metric.corpus_score(hypotheses, references)
        signature = metric.get_signature().format()
        yield {
            **setting,
            "signature": signature.rsplit("|version:", 1)[0],
            "score": score.score,
            "precisions": score.precisions,
            "brevity_penalty": score.bp,
            "hypothesis_length": score.sys_len,
            "reference_length": score.ref_len,
            "verbose": str(score),
        }


def tokenizations():
    """Random strings of the characters that the tokeniser 13a treats specially, and others."""
    draw = random.Random(13)
    pieces = list(".,-.,-.,-0123456789 &;'\"!?()[]{}/\\|~^_`@#$%*+=<>:aZé。、\u00a0\n\t\x1f–")
    pieces += ["&amp;", "&lt;", "&quot;", "&gt;", "<skipped>", "-\n", "...", "1,0", "word"]
    tokenizer = BLEU(tokenize="13a").tokenizer
    for _ in range(300):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 16)))
        yield [text, tokenizer(text.rstrip())]


def main():
    golden = {
        "sacrebleu": sacrebleu.__version__,
        "corpora": [
            {
                "name": name,
                "hypotheses": hypotheses,
                "references": references,
                "cases": list(cases(name, hypotheses, references)),
            }
            for name, (hypotheses, references) in CORPORA.items()
        ],
        "tokenizations": list(tokenizations()),
    }
    path = pathlib.Path(__file__).with_name("bleu_golden.json")
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":"))
    # One case a line: differences can be read.
    for key in ("name", "tokenize"):
        text = text.replace(f'{{"{key}":', f'\n{{"{key}":')
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
