"""A table of what scanners write, and what each is."""

from typing import Any

import pytest

from tissueclock.imaging.dicom.recognition import Facts, merge, recognise_series


def facts(*image_type: str, **given: Any) -> Facts:
    own = {"modality": {"MR"}, "image_types": {image_type} if image_type else set()} | given
    standard, private = own.pop("standard_b", ()), own.pop("private_b", ())
    own["b_tags"] = set(own.get("b_tags", ())) | {(b, None) for b in standard} | {(None, b) for b in private}
    return Facts(**{name: frozenset(values) for name, values in own.items()})


DIFFUSION = ("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND")
FLAIR = {"sequences": {"SE", "IR"}, "inversion_times_ms": {2500.0}, "echo_times_ms": {93.0}}
EPI = {"sequences": {"EP", "SE"}, "echo_times_ms": {80.0}}


@pytest.mark.parametrize(
    ("given", "kind", "evidence", "trace"),
    [
        (facts(*DIFFUSION, private_b={0.0, 1000.0}), "dwi", "private tags", False),
        (facts("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", private_b={1000.0}), "dwi", "private tags", True),
        (facts("ORIGINAL", "PRIMARY", "M_SE", standard_b={0.0, 1000.0}), "dwi", "standard tags", False),
        (facts("ORIGINAL", "PRIMARY", contrasts={"DIFFUSION"}), "dwi", "standard tags", False),
        (facts("ORIGINAL", standard_b={0.0, 900.0}, directionality={"ISOTROPIC"}), "dwi", "standard tags", True),
        (facts("ORIGINAL", "PRIMARY", "OTHER", private_b={0.0}, **EPI), "dwi", "private tags", False),
        (facts("ORIGINAL", texts={"ep2d_diff_b1000"}), "dwi", "free text", False),
        (facts("ORIGINAL", texts={"DWI trace"}), "dwi", "free text", True),
        (facts("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), "adc", "standard tags", False),
        (facts("DERIVED", "PRIMARY", "ADC", "ADC", standard_b={0.0, 1000.0}), "adc", "standard tags", False),
        (facts("DERIVED", texts={"Apparent Diffusion Coefficient (mm2/s)"}), "adc", "free text", False),
        (facts("ORIGINAL", "PRIMARY", "M", **FLAIR), "flair", "standard tags", False),
        (facts("ORIGINAL", contrasts={"FLUID_ATTENUATED"}, echo_times_ms={120.0}), "flair", "standard tags", False),
        (facts("ORIGINAL", sequences={"IR"}, echo_times_ms={120.0}, texts={"t2 flair"}), "flair", "free text", False),
        (facts("ORIGINAL", echo_times_ms={120.0}, texts={"tirm dark-fluid"}), "flair", "free text", False),
        (facts("ORIGINAL", standard_b={0.0}, **FLAIR), "flair", "standard tags", False),  # Philips
    ],
)
def test_recognises(given, kind, evidence, trace):
    verdict = recognise_series(given)
    assert (verdict.kind, verdict.evidence, verdict.trace) == (kind, evidence, trace), verdict.reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (facts("ORIGINAL", modality={"CT"}), "modality CT; MR is needed"),
        (facts("DERIVED", "PRIMARY", "DIFFUSION", "FA"), "a tensor map (ImageType FA)"),
        (facts("DERIVED", colour={"RGB"}), "a colour map (RGB)"),
        (facts("DERIVED", "SECONDARY", "MIP"), "a projection (ImageType MIP)"),
        (facts("DERIVED", "SECONDARY", "PROJECTION IMAGE"), "a projection (ImageType PROJECTION IMAGE)"),
        (facts("ORIGINAL", "PRIMARY", "LOCALIZER"), "a localiser (ImageType LOCALIZER)"),
        (facts("ORIGINAL", "PRIMARY", axes={0, 1, 2}), "a localiser (slices across 3 axes)"),
        (facts("ORIGINAL", "PRIMARY", "P", "ND"), "not a magnitude image (ImageType P)"),
        (facts("ORIGINAL", components={"PHASE"}), "phase, not magnitude"),
        (facts("ORIGINAL", "PRIMARY", "M", "SWI"), "susceptibility-weighted (ImageType SWI)"),
        (facts("ORIGINAL", contrasts={"PERFUSION"}), "perfusion (AcquisitionContrast PERFUSION)"),
        (facts("ORIGINAL", contrasts={"TIME_OF_FLIGHT"}), "angiography (AcquisitionContrast TIME_OF_FLIGHT)"),
        (facts("DERIVED", "PRIMARY", "EADC"), "an exponential ADC map (ImageType EADC)"),
        (
            facts("DERIVED", "DIFFUSION", "CALC_BVALUE"),
            "a computed b-value, not a measured one (ImageType CALC_BVALUE)",
        ),
        (
            facts(
                "ORIGINAL", sequences={"SE", "IR"}, inversion_times_ms={860.0}, echo_times_ms={10.0}, texts={"T1 FLAIR"}
            ),
            "inversion recovery, but not T2-weighted: TI 860, TE 10 ms; FLAIR has TE of 60 ms or more",
        ),
        (
            facts(
                "ORIGINAL", sequences={"SE", "IR"}, inversion_times_ms={160.0}, echo_times_ms={70.0}, texts={"FLAIR"}
            ),
            "inversion recovery, but not FLAIR: TI 160, TE 70 ms; FLAIR has TI 1600 to 3200 ms",
        ),
        (
            facts("ORIGINAL", standard_b={0.0}, sequences={"SE"}, echo_times_ms={100.0}, repetition_times_ms={5000.0}),
            "neither diffusion nor inversion recovery (TI unknown, TE 100 ms, TR 5000 ms)",
        ),
        (
            facts("ORIGINAL", private_b={0.0}, sequences={"GR", "EP"}, echo_times_ms={30.0}),
            "neither diffusion nor inversion recovery (TI unknown, TE 30 ms, TR unknown ms)",
        ),
        (
            facts("ORIGINAL", sequences={"IR"}, echo_times_ms={90.0}),
            "inversion recovery, but neither tags nor free text say FLAIR (TI unknown, TE 90 ms)",
        ),
    ],
)
def test_says_why_a_series_is_left(given, reason):
    verdict = recognise_series(given)
    assert (verdict.kind, verdict.reason) == ("left", reason)


def test_a_text_never_overrules_the_tags():
    t1 = facts("ORIGINAL", sequences={"SE", "IR"}, inversion_times_ms={800.0}, echo_times_ms={90.0}, texts={"T2 FLAIR"})
    assert recognise_series(t1).kind == "left"


def test_a_phase_image_beside_a_magnitude_leaves_the_series_in():
    both = merge([facts("ORIGINAL", "PRIMARY", "M", **FLAIR), facts("ORIGINAL", "PRIMARY", "P", **FLAIR)])
    assert recognise_series(both).kind == "flair"


def test_the_standard_b_value_comes_before_a_private_one():
    assert facts("ORIGINAL", b_tags={(800.0, 1000.0)}).b_values == {800.0}


def test_text_names_b_values():
    assert facts(texts={"*ep_b1000t", "DWI b=0", "b800", "ab12"}).text_b == (0.0, 800.0, 1000.0)
