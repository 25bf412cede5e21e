"""Text profiles against strings checked by hand, and the traps other libraries fall into."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.scoring.profiles._arabic import to_arabic, to_buckwalter
from harness_bench.scoring.registry import get_profile, profile_names

ARABIC = st.text(st.characters(min_codepoint=0x600, max_codepoint=0x6FF) | st.sampled_from(" .,a1"))

HAND_CHECKED = [
    # profile, text, expected
    ("none", "  أَهْلاً،  بِكُمْ ", "أَهْلاً، بِكُمْ"),
    ("mgb2", "أَهْلًا، بِكُمْ!", "اهلا بكم"),
    ("mgb2", "إلى آخر الأسئلة", "الي اخر الاسءله"),
    ("mgb2", "سؤال", "سءال"),
    ("mgb2", "مستشفى", "مستشفي"),
    ("mgb2", "آسف", "اسف"),  # pyarabic makes ءءسف of it
    ("mgb2", "نعم، لا", "نعم لا"),
    ("mgb2", "نعم،لا", "نعملا"),  # removed as the rule says, though it was all that parted them
    ("mgb2", "ا\u0654حمد", "احمد"),  # hamza written as a combining mark
    ("mgb2", "ه\u0670ذا", "هذا"),  # dagger alef, which pyarabic leaves
    ("mgb2", "قال\u06d6 الله", "قال الله"),  # Quranic mark, which both libraries leave
    ("mgb2", "كتـــاب", "كتاب"),  # tatweel, which camel-tools leaves
    ("mgb2", "كَتَبَ", "كتب"),  # never "ك ت ب": marks are replaced by nothing
    ("mgb2", "«50٪»", "50"),
    ("mgb3", "إلى مدرسةٍ، آخر", "الي مدرسهٍ، اخر"),  # nothing but the letters is touched
    ("mgb3", "أحمد سؤال الأسئلة", "احمد سؤال الاسئله"),  # ئ and ؤ stay
    ("kaldi-mgb2", "أنا <UNK> [NOISE] هنا %HESITATION", "أنا هنا"),
    ("kaldi-mgb2", "إلى <unk> مدرسة", "إلى مدرسة"),
    ("oual-2024", "«أهلاً»، پاريس ڤيديو!", "«اهلا»، باريس فيديو!"),
    ("oual-2024", "إلى آخر", "الى اخر"),
    ("oual-2024", "سؤال الأسئلة ماء ٢٠٢٤", "سوال الاسيلة ما 2024"),
    ("oual-2024", "كتـاب على ه\u0670ذا", "كتـاب على ه\u0670ذا"),  # tatweel, ى, U+0670 stay
    ("oual-2026", "«أهلاً»، و سهلاً!", "اهلا وسهلا"),
    ("oual-2026", "قال و", "قال و"),
    ("oual-2026", "و و قال", "ووقال"),
    ("lhotse", "قال: أَنا و هو، ABC ٣", "قال أنا هو abc 3"),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "text", "expected"), HAND_CHECKED)
def test_hand_checked(profile: str, text: str, expected: str) -> None:
    """The rule of each profile, one trap at a time."""
    assert get_profile(profile).normalise(text) == expected


def test_every_profile_is_hand_checked() -> None:
    """A profile dropped into the folder needs strings above."""
    assert {profile for profile, _, _ in HAND_CHECKED} == set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_contract(name: str) -> None:
    """Results carry name and version; scoring splits at single spaces."""
    profile = get_profile(name)
    assert profile.label == f"{name} v{profile.version}"
    assert profile.version
    assert profile.rule.endswith(".")
    assert profile.normalise("") == ""
    assert profile.normalise("\t كتاب \n بيت ") == "كتاب بيت"


@pytest.mark.parametrize("name", profile_names())
@given(text=ARABIC)
@settings(deadline=None)
def test_normalising_twice_changes_nothing(name: str, text: str) -> None:
    """References are sometimes stored normalised: a second pass must not move the score."""
    normalise = get_profile(name).normalise
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


def test_buckwalter_table_agrees_with_lhotse() -> None:
    """Lhotse carries an independent copy of the table (one letter of ours, چ, is `J` there too)."""
    from lhotse.recipes.mgb2 import from_buck_walter  # noqa: PLC0415 - seconds to import.

    latin = "'|>&<}AbptvjHxd*rzs$SDTZEg_fqklmnhwYyFNKaui~o`{PJVG"
    assert to_arabic(latin) == from_buck_walter(latin)


@given(text=st.text("'|>&<}AbptvjHxd*rzs$SDTZEg_fqklmnhwYyFNKaui~o`{PJVG 019.-"))
def test_buckwalter_comes_back(text: str) -> None:
    """The way there and back loses nothing."""
    assert to_buckwalter(to_arabic(text)) == text
