"""Every broken config in tests/bad/, diagnosed with the right code on the right line, and shown as its golden shows it.

To add one: put the file in tests/bad/, its row in the table below, and run ``pytest --update-golden`` on this file;
then read the written output from the view of a user who made that error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import FAULTS
from tinylm_cli.cli.validate import validate
from tinylm_cli.config.diagnostic_codes import CODES
from tinylm_cli.errors import Diagnostic, ExitCode
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text

BAD = Path(__file__).resolve().parent.parent / "bad"

# file  code@lines …; 2-5 stands for one on each of the lines, a code without lines for the document as a whole
TABLE = """
alias-as-key                  anchor@3 alias@7
alias-bomb                    unknown-key@7-8 anchor@7-8 alias@8,8,8
alias-of-itself               anchor@2 alias@3
alias-undefined               alias@6
alias-without-name            alias@3 yaml-syntax@3
alias                         anchor@3 alias@6
alibi-with-theta              without-effect@10
anchor-without-name           yaml-syntax@3
anchor                        anchor@3
arithmetic                    wrong-type@6
attention-gate-activation-alone without-effect@8
attention-as-word             wrong-type@7
attention-chunked-alone       without-effect@8
attention-fields-at-top       unknown-key@7,8,9,10
attention-floor-scale         unknown-key@8,9
attention-kind-gqa-full       contradiction@8
attention-kind-gqa            needs-field@8
attention-kind-mha-grouped    contradiction@8
attention-kind-mqa-grouped    contradiction@9
attention-kv-heads-too-many   kv-heads-do-not-divide@8
attention-kv-heads-uneven     kv-heads-do-not-divide@8
attention-kv-heads-zero       out-of-range@8
attention-qk-norm-true        wrong-type@8
attention-scale-root          wrong-type@8
attention-temperature-alone   without-effect@8,9
attention-temperature-zero    out-of-range@8
bad-escape                    yaml-syntax@8
bidi-in-key                   unknown-key@7
bidi-in-value                 unknown-choice@8
binary-number                 wrong-type@3
block-field-at-top            unknown-key@7-10
block-parallel-at-top         unknown-key@7,8
block-normed-residual-parallel without-effect@9
block-scalar-broken           yaml-syntax@3
block-scalar                  wrong-type@5
block-shared-norm-alone       without-effect@8
block-under-model             unknown-key@2
boolean-numbers               wrong-type@7,9
boolean-python                wrong-type@9
both-rules                    odd-sinusoidal-width@3 heads-do-not-divide@4
budget-ambiguous-bytes        wrong-type@8
budget-as-word                wrong-type@7
budget-at-top                 unknown-key@7,8
budget-negative               out-of-range@8,9
budget-nominal                over-budget@9
budget-over-experts           over-budget@9
budget-over-one-layer         over-budget@8
budget-over                   over-budget@9,11,12
budget-past-max-len           contradiction@10
budget-tolerance-alone        without-effect@9
budget-unknown-limit          unknown-key@8,9
byte-order-mark-inside        missing-key@2,2,2 unknown-key@3
byte-order-mark-then-error    wrong-type@1
c1-control                    control-character@2
choice-case                   unknown-choice@8,10
choice-foreign                unknown-choice@8,10,12
choice-null                   wrong-type@8
choice-typo                   unknown-choice@8,10,12
clip-qkv-latent               without-effect@11
comma-decimal                 wrong-type@7
comment-without-space         wrong-type@3
complex-key                   key-not-a-name@7
control-in-double-quotes      unknown-choice@8
date                          wrong-type@5
dedented-too-little           yaml-syntax@9
directive-huge-version        yaml-syntax@1
directive-malformed           yaml-syntax@1
directive-minor-version       yaml-syntax@1
directive-tag                 tag@4
directive-twice               yaml-syntax@2
directive-version             yaml-syntax@1
directive-without-document    yaml-syntax@1
directive-yaml-1.1            wrong-type@6
dotted-key-typo               unknown-key@7
dotted-key                    unknown-key@7-8
duplicate-block               duplicate-key@11
duplicate-key-in-block        duplicate-key@10
duplicate-key-quoted          duplicate-key@7
duplicate-key-thrice          duplicate-key@8-9
duplicate-key                 duplicate-key@7
duplicate-on-one-line         duplicate-key@1
embedding-multiplier-word     wrong-type@8
empty                         empty-document
equals-sign                   yaml-syntax@7
errors-in-block               unknown-choice@8 out-of-range@9 unknown-key@10
escape-beyond-unicode         yaml-syntax@8
escape-character              control-character@2
escape-unfinished             yaml-syntax@8
every-block-list              wrong-type@8,10,12,14,16,18,20
every-block-null              wrong-type@7,8,9,10,11,12,13
every-block-scalar            wrong-type@7,8,9,10,11,12,13
every-field-1e400             wrong-type@2-7,9-10,12,14,17,19-20 not-finite@8,15
every-field-boolean           wrong-type@2-8,10,12,14-15,19
every-field-empty             wrong-type@2-9,12,14-15,17,19-20
every-field-fraction          wrong-type@2-7,9-10,12,14,17,19-20 out-of-range@8,15
every-field-infinite          wrong-type@2-7,9-10,12,14,17,19-20 not-finite@8,15
every-field-list              wrong-type@2-10,12,14-15,17,19-20
every-field-mapping           wrong-type@2-10,12,14-15,17,19-20
every-field-nan               wrong-type@2-7,9-10,12,14,17,19-20 not-finite@8,15
every-field-negative          out-of-range@2-8,10,15 wrong-type@9,12,14,17,19-20
every-field-null              wrong-type@2-9,12,14-15,17,19-20
every-field-quoted            wrong-type@2-10,12,14,16
every-field-text              wrong-type@2-10,15,17,20 unknown-choice@12,14,19
every-field-too-large         out-of-range@2-9,11
every-field-zero              out-of-range@2-7,9,14 wrong-type@8,11,13,16,18-19
experts-all-dense             contradiction@9
experts-block-moe             unknown-key@7
experts-correct-logits        without-effect@10
experts-groups-alone          without-effect@10
experts-groups-too-few        expert-groups@9
experts-groups-too-many       expert-groups@12
experts-groups-uneven         expert-groups@11
experts-renormalize-chosen    without-effect@9
experts-router-jitter         without-effect@9
experts-router-noaux          unknown-choice@10
experts-score-correction      without-effect@9
experts-gate-multiplier        without-effect@11
experts-bias-alone            without-effect@8
experts-latent-alone          without-effect@8
experts-out-norm-twice        without-effect@11
experts-shared-gate-alone     without-effect@9
experts-shared-scale-alone    without-effect@9
experts-top-k-above           top-k-above-experts@9
experts-top-k-default         top-k-above-experts@8
experts-weight-on-input-alone without-effect@8
experts-without-number        without-effect@8,9,10,11
differential-odd-heads        heads-do-not-divide@8
keys-as-values-alone          contradiction@8
proportional-yarn             without-effect@9,12
sub-norm-of-experts           without-effect@9
channel-mixing-with-gates     without-effect@9
per-layer-codebooks           contradiction@8
per-layer-xielu               contradiction@10
experts-xielu                 contradiction@8
experts-zero                  out-of-range@8
feed-forward-clamp-plain      without-effect@9
feed-forward-geglu-inline     wrong-type@7
feed-forward-swiglu           unknown-choice@8
first-line-indented           yaml-syntax@3
float-200-digits              number-too-long@7
float-for-integer             wrong-type@2-3,6
flow-key                      key-not-a-name@7,7
folded-scalar                 wrong-type@5
foreign-deepseek              unknown-key@11,12,13,14,16,17,18,19,20,21,22
foreign-gemma                 unknown-key@9,11,12,13,14,15,17,19
foreign-gpt2                  unknown-key@3-11
foreign-granite               unknown-key@7,8,10
foreign-json                  unknown-key@1,1,1,1,1
foreign-llama                 unknown-key@3-11
foreign-mixtral               missing-key@2
foreign-nanogpt               missing-key@2 unknown-key@3-6,8
foreign-type-for-kind         unknown-key@8,10
fullwidth-digits              wrong-type@3
head-dense-of-mtp             without-effect@9
head-kind-class-name          unknown-choice@8 unknown-key@9
head-labels-of-lm             without-effect@8
head-lm-fields                without-effect@7,11-12 out-of-range@10
head-mtp-alias                unknown-key@8
head-mtp-of-classifier        without-effect@10
head-mtp-per-layer-embedding  contradiction@10
head-mtp-too-many             out-of-range@8
head-none-with-bias           without-effect@10
head-unknown-key              unknown-key@8,9,10
heads-do-not-divide           heads-do-not-divide@4
heads-exceed-width            heads-do-not-divide@4
heads-prime-width             heads-do-not-divide@4
hexadecimal-bad-digit         wrong-type@3
hf-experts                    top-k-above-experts@4 expert-groups@5 odd-rotary-width@7
hf-heads-do-not-divide        heads-do-not-divide@4 kv-heads-do-not-divide@5
hf-json-syntax                json-syntax@3
hf-out-of-range               out-of-range@3,6 heads-do-not-divide@5
hf-several-errors             wrong-type@3-4,8-9 kv-heads-do-not-divide@6 unsupported-setting@7 missing-key@8
hf-unknown-family             unknown-family@4
hf-unknown-setting            unknown-setting@5-6
hf-unsupported-setting        unsupported-setting@2
hf-without-family             missing-key@1
indented-under-value          yaml-syntax@7
integer-100000-digits         number-too-long@3
integer-40-digits             out-of-range@3
json-comment                  yaml-syntax@3
indexer-below-rope            contradiction@14
json-double-comma             yaml-syntax@1
json-missing-comma            yaml-syntax@3
key-boolean                   unknown-key@7
key-empty-quoted              unknown-key@7
key-empty                     unknown-key@7
key-null                      unknown-key@7
key-number                    unknown-key@7
key-very-long                 unknown-key@7
key-wide-characters           unknown-key@7
key-with-spaces               unknown-key@7
altup-streams-differ          contradiction@14
hyper-streams-differ          contradiction@14
index-shared-first            contradiction@18
loop-without-layers           contradiction@8
kv-from-a-later-layer         contradiction@12
kv-from-another-head-size     contradiction@12
shared-block-of-two-widths    contradiction@12
latent-fields-without-latent  without-effect@10,11,12
latent-odd-rope               odd-rotary-width@11
latent-rotary-fraction        contradiction@9
latent-with-kv-heads          without-effect@11,12
latent-without-rope           contradiction@8
layers-and-window-pattern     contradiction@10,16,17
layers-as-list                wrong-type@8
layers-do-not-divide          layers-do-not-divide@9
layers-end-too-soon           layers-do-not-divide@10
layers-idle-field             without-effect@9,14
layers-kind-alias             anchor@9 alias@10
layers-kind-null-sizes        wrong-type@9,10
layers-kind-undefined         undefined-kind@9
layers-kind-uneven-heads      kv-heads-do-not-divide@11
layers-kind-unknown-key       unknown-key@13,14,15
layers-kind-unused            without-effect@12
layers-kind-wrong-values      out-of-range@11 wrong-type@12,13,14
layers-learned-positions      contradiction@12
layers-pattern-syntax         wrong-type@9,10
layers-without-kinds          needs-field@9
layers-without-pattern        needs-field@10
learned-offset-in-rope        without-effect@9
length-with-unit              wrong-type@7,9
line-combining-marks          unknown-key@1 wrong-type@1
line-ends-cr                  wrong-type@3 out-of-range@5
line-ends-crlf                wrong-type@3 out-of-range@5
line-ends-mixed               wrong-type@6
line-tabs                     wrong-type@1
line-very-long                unknown-key@1 wrong-type@1 out-of-range@1
line-wide-characters          unknown-key@1 unknown-choice@1 out-of-range@1
list-dashes                   yaml-syntax@7
list-on-key-line              yaml-syntax@3
logit-scale-zero              out-of-range@8
lone-question-mark            wrong-type@7
longrope-factors-quoted       wrong-type@11,12
longrope-factors-scalar       wrong-type@11 out-of-range@12
longrope-too-few-factors      contradiction@12
longrope-without-factors      needs-field@9
mamba-norm-eps                without-effect@8
markup-in-value               unknown-choice@8
merge-conflict                yaml-syntax@5
merge-key                     merge-key@8
missing-all                   missing-key@2,2,2,2,2
missing-and-misspelled          missing-key@2 unknown-key@5
missing-colon                 yaml-syntax@7
missing-one                   missing-key@2
missing-space-everywhere      not-a-mapping@1
missing-space                 yaml-syntax@7
nested-33-deep                too-deep@39
nested-5000-deep              too-deep@1
nested-braces-deep            too-deep@1
no-break-space                yaml-syntax@7
no-final-newline              wrong-type@5
nominal-approximate           wrong-type@7
nominal-float                 wrong-type@7
nominal-lowercase             wrong-type@7
nominal-space                 wrong-type@7
nominal-too-large             wrong-type@7
nominal-unit-unknown          wrong-type@7
nominal-zero                  out-of-range@7
norm-gate-without-norm        without-effect@9
norm-bias-without-weight      contradiction@9 without-effect@10
layers-norm-placement         contradiction@11
norm-placement-other          unknown-choice@8
norm-placement-parallel       contradiction@10
norm-rms-with-bias            contradiction@9
not-utf8-in-value             not-utf8@4
not-utf8-latin1               not-utf8@1
not-utf8-surrogate            not-utf8@1
not-utf8-truncated            not-utf8@6
nul-byte                      control-character@3
octal-bad-digit               wrong-type@3
octal-old-style               heads-do-not-divide@4
only-blank-lines              empty-document
only-byte-order-mark          empty-document
only-comments                 empty-document
only-document-start           empty-document
percent-suffix                wrong-type@7
percent-value                 yaml-syntax@7
position-kind-others          unknown-choice@8
position-kind-relative        unknown-choice@8
position-unknown-key          unknown-key@9
python-dict                   not-a-mapping@1
qk-norm-after-rope-alone      without-effect@10
qk-norm-weight-alone          without-effect@8
qk-norm-weight-without-weights without-effect@11
question-mark-value           yaml-syntax@3
reserved-at-sign              yaml-syntax@3
reserved-backtick             yaml-syntax@3
rg-lru-blocks                 heads-do-not-divide@7
root-empty-mapping            missing-key@1,1,1,1,1
root-flow-list                not-a-mapping@1
root-list                     not-a-mapping@1
root-null                     empty-document
root-number                   not-a-mapping@1
root-text-lines               not-a-mapping@1
root-text                     not-a-mapping@1
rope-fields-without-rope      without-effect@8,9
rope-fraction-dimensions      out-of-range@9
rope-fraction-odd             odd-rotary-width@9
rope-fraction-percent         wrong-type@9
rope-llama3-order             contradiction@12
rope-odd-d-head               odd-rotary-width@10
rope-odd-head                 odd-rotary-width@3
rope-scaling-block-inside     wrong-type@10
rope-scaling-block            unknown-key@9
rope-scaling-other            unknown-choice@9
rope-scaling-without-factor   needs-field@10
rope-scaling-without-length   needs-field@10
rope-theta-short              wrong-type@9
rope-yarn-fields-in-llama3    without-effect@12,13
rope-yarn-order               contradiction@13
rule-and-field                heads-do-not-divide@4 wrong-type@5
rule-field-broken             wrong-type@4
rule-on-one-line              heads-do-not-divide@1
rule-on-one-long-line         heads-do-not-divide@1
second-colon                  yaml-syntax@3
second-document-empty         several-documents@6
several-documents             several-documents@7
several-errors                duplicate-key@4 unknown-key@5 out-of-range@6 wrong-type@7-8,12 unknown-choice@10 anchor@11
sexagesimal                   wrong-type@5
sinusoids-in-rope             without-effect@9
softcap-zero                  out-of-range@8,10
storage-groups                contradiction@11
storage-idle                  without-effect@9,10
storage-unknown-scheme        unknown-choice@8 wrong-type@10
stray-brace                   yaml-syntax@7
stray-bracket                 yaml-syntax@7
tab-before-key                yaml-syntax@7
tab-indent                    yaml-syntax@8
tag-custom                    tag@3
tag-int                       tag@3
tag-malformed                 yaml-syntax@3
tag-python-object             tag@3
tag-str                       tag@3
tag-unknown-handle            yaml-syntax@3
template-value                wrong-type@3 key-not-a-name@3
text-after-quote              yaml-syntax@8
too-many-errors               unknown-key@6-55 too-many-errors
too-many-values               too-many-values@2
top-field-in-block            unknown-key@7
trailing-comma                wrong-type@3
trailing-semicolon            wrong-type@3
two-fields-one-line           yaml-syntax@7
typographic-minus             wrong-type@8
typographic-quotes            unknown-choice@8
unclosed-brace                yaml-syntax@8
unclosed-bracket              yaml-syntax@8
unclosed-double-quote         yaml-syntax@8
unclosed-single-quote         yaml-syntax@8
underscores                   wrong-type@2-3,6
unit-suffix                   wrong-type@2,6-7
unknown-block-typo            unknown-key@7
unknown-block                 unknown-key@7
unknown-key-case              unknown-key@6
unknown-key-far               unknown-key@7
unknown-key-hyphen            unknown-key@6
unknown-key-in-block-typo     unknown-key@8
unknown-key-in-block          unknown-key@9
unknown-key-typo              unknown-key@6
utf16-big-endian              not-utf8
utf16-little-endian           not-utf8
utf16-without-mark            not-utf8
value-infinite                not-finite@7
value-on-several-lines        wrong-type@6
value-very-long               unknown-choice@8
width-odd-default             odd-sinusoidal-width@3
width-odd-named               odd-sinusoidal-width@3
width-one                     odd-sinusoidal-width@3
window-none                   wrong-type@8
window-pattern-all-global     contradiction@9
window-pattern-list           wrong-type@9
window-pattern-lowercase      wrong-type@9
window-pattern-without-window without-effect@8
window-pattern-words          wrong-type@9
window-with-indexer           contradiction@13
yaml11-booleans               wrong-type@7,9,11
zero-width-in-key             unknown-key@7
"""


def _expected() -> dict[str, list[tuple[str, int | None]]]:
    return {name: list(_places(words)) for name, *words in map(str.split, TABLE.strip().splitlines())}


def _places(words: list[str]) -> Iterator[tuple[str, int | None]]:
    for word in words:
        code, _, lines = word.partition("@")
        for stretch in lines.split(","):
            first, _, last = stretch.partition("-")
            yield from ((code, line) for line in range(int(first), int(last or first) + 1)) if first else [(code, None)]


EXPECTED = _expected()


@cache
def _checked(name: str) -> tuple[tuple[Diagnostic, ...], str, int]:
    """Return the diagnostics, the text and the exit code of ``tinylm validate NAME.yaml`` in its folder."""
    outcome = validate([f"{name}.yaml"])
    report: Any = outcome.report
    return report.files[0].diagnostics, to_text(outcome.view(), Terminal()), int(outcome.exit_code)


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)


def test_table_matches_folder() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in BAD.glob("*.yaml"))
    assert sorted(EXPECTED) == sorted(path.stem for path in BAD.glob("*.txt"))


@pytest.mark.parametrize("name", EXPECTED)
def test_positions_of_errors(name: str, golden: Callable[[Path, str], None]) -> None:
    diagnostics, text, exit_code = _checked(name)
    is_text = all(error.code != "not-utf8" for error in diagnostics)
    assert exit_code == (ExitCode.FAILED if is_text else ExitCode.UNABLE)
    found = [(error.code, error.span.line if error.span else None) for error in diagnostics]
    assert sorted(found, key=str) == sorted(EXPECTED[name], key=str)
    lines = [line for _, line in found if line is not None]
    assert lines == sorted(lines), "errors come in the order of the file"
    golden(BAD / f"{name}.txt", text)
    assert_sanitized_and_fits(text)
    for error in diagnostics:
        assert_short(error)


def assert_sanitized_and_fits(text: str) -> None:
    hidden = {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    assert not hidden
    assert all(len(line) <= 80 for line in text.splitlines())


def assert_short(error: Diagnostic) -> None:
    assert error.help
    assert error.message
    assert "\n" not in error.message
    assert len(error.message) < 160
    assert not error.message.endswith((".", " "))


def test_the_corpus_is_varied() -> None:
    kinds = {(tuple(sorted({code for code, _ in places})), name.split("-")[0]) for name, places in EXPECTED.items()}
    assert len(kinds) >= 60
    assert len(EXPECTED) >= 75


def test_every_code_is_produced() -> None:
    of_the_command_line = {"assertion-syntax", "failed-assertion", "unknown-figure", "unknown-gpu"}
    produced = {code for places in EXPECTED.values() for code, _ in places}
    assert produced == set(CODES) - of_the_command_line - FAULTS.keys()


def test_folder_equals_its_files(tinylm: Callable[..., Any]) -> None:
    result = tinylm("validate", ".", cwd=BAD)
    each = [_checked(name)[1].rsplit("\n\n", 1) for name in sorted(EXPECTED, key="{}.yaml".format)]
    assert result.code == ExitCode.UNABLE
    errors, table, summary = result.out.rsplit("\n\n", 2)
    assert errors == "\n\n".join(errors.split("\n\n        condition")[0] for errors, _ in each)
    rows = [" ".join(line.split()) for line in table.splitlines()[1:]]
    for row, (_, verdict) in zip(rows, each, strict=True):
        last = verdict.splitlines()[-1].removesuffix(".").replace(": ", " ")
        assert re.sub(r"(assertions?) [\d,]+$", r"\1", row) == last
    failed = sum("over-budget" in {code for code, _ in places} for places in EXPECTED.values())
    unreadable = sum("not-utf8" in {code for code, _ in places} for places in EXPECTED.values())
    invalid = len(EXPECTED) - failed - unreadable
    assert summary.splitlines()[-1] == (
        f"{len(EXPECTED)} configs: {failed} failed, {invalid} invalid, {unreadable} unreadable."
    )
