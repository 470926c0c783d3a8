"""The built-in model draws what it is told, in several languages: words that mean the same give nearly the same picture from
the same seed, and other words another one."""
from common import MINI, difference, read_png, reverie, run_tests

MEANINGS = [["red apple", "a red apple", "красное яблоко", "ein roter Apfel", "pomme rouge", "苹果", "赤リンゴ"],
            ["cat face", "smiling cat", "морда кошки", "Katzengesicht"],
            ["green book", "зелёная книга", "grünes Buch"]]
NEAR, FAR = 15.0, 30.0  # mean difference of 255; seen: 10 at the most, 38 at the least


def test_languages(folder):
    pictures = {}
    for words in MEANINGS:
        for number, text in enumerate(words):
            out = folder / f"{words[0]}-{number}.png"
            reverie("txt2img", "--model", MINI, "-p", text, "--steps", 4, "--seed", 3, "-o", out)
            pictures[text] = read_png(out)[2]
    for words in MEANINGS:
        for text, picture in pictures.items():
            mean, _ = difference(pictures[words[0]], picture)
            if text in words:
                print(f"# {words[0]}, {text}: {mean:.1f}")
                assert mean < NEAR, f"{words[0]!r} and {text!r} differ by {mean:.1f}"
            else:
                assert mean > FAR, f"{words[0]!r} and {text!r} differ by {mean:.1f} only"


run_tests(globals())
