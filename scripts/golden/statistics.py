"""Writes lib/statistics/golden/scipy.json: inputs and what scipy says about them.

Run by hand when a test needs new cases; the result is committed, so that no test needs Python:
    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6
    venv/bin/python scripts/golden/statistics.py
"""

import json
import pathlib

import numpy as np
import scipy
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

TARGET = pathlib.Path(__file__).parents[2] / "lib" / "statistics" / "golden" / "scipy.json"
rng = np.random.default_rng(20261126)


def numbers(values):
    return [float(value) for value in np.atleast_1d(values)]


def functions():
    z = [-8.0, -3.0, -1.96, -0.5, 0.0, 1e-3, 0.7, 1.6448536269514722, 3.0, 6.0, 12.0]
    p = [1e-12, 1e-6, 0.001, 0.025, 0.2, 0.5, 0.7, 0.975, 0.999999]
    chi = [(x, df) for df in (1, 2, 5, 9, 49, 400) for x in (0.01, 0.5, 3.0, 10.0, 60.0, 450.0)]
    gamma = [0.1, 0.5, 1.0, 1.5, 2.0, 3.7, 10.0, 100.5, 12345.0]
    t = [(x, df) for df in (1, 2, 5, 30, 999) for x in (-2.0, 0.0, 0.5, 1.7, 4.0, 20.0)]
    tq = [(tail, df) for df in (1, 3, 29, 500) for tail in (0.4, 0.05, 0.025, 0.001)]
    beta = [(a, b, x) for a in (0.5, 2.0, 40.0) for b in (0.5, 3.0, 90.0) for x in (0.01, 0.3, 0.5, 0.95)]
    return {
        "logGamma": [{"x": x, "expected": float(special.gammaln(x))} for x in gamma],
        "normalSurvival": [{"z": x, "expected": float(stats.norm.sf(x))} for x in z],
        "normalQuantile": [{"p": x, "expected": float(stats.norm.ppf(x))} for x in p],
        "chiSquareSurvival": [{"x": x, "df": df, "expected": float(stats.chi2.sf(x, df))} for x, df in chi],
        "studentTSurvival": [{"t": x, "df": df, "expected": float(stats.t.sf(x, df))} for x, df in t],
        "studentTUpperQuantile": [{"tail": q, "df": df, "expected": float(stats.t.isf(q, df))} for q, df in tq],
        "incompleteBeta": [
            {"a": a, "b": b, "x": x, "expected": float(special.betainc(a, b, x))} for a, b, x in beta
        ],
    }


def kolmogorov():
    cases = []
    for n in (1, 2, 5, 20, 100, 140, 141, 500, 3000, 50_000, 1_000_000):
        for scaled in (0.3, 0.45, 0.6, 0.8, 0.86, 1.0, 1.36, 1.48, 1.63, 1.9, 2.1, 3.0, 5.0):
            d = scaled / np.sqrt(n)
            if 0 < d < 1:
                cases.append({"n": n, "d": float(d), "expected": float(stats.kstwo.sf(d, n))})
    for n, d in ((5, 0.55), (30, 0.6), (30, 0.98), (10, 0.08), (10, 0.04), (200, 0.004)):
        cases.append({"n": n, "d": d, "expected": float(stats.kstwo.sf(d, n))})
    return {"kolmogorovSurvival": cases}


def draws(kind, size, shift=0.0):
    if kind == "normal":
        return rng.normal(shift, 1, size)
    if kind == "ties":
        return rng.integers(0, 8, size) + np.round(shift)
    return np.round(rng.lognormal(shift, 1, size), 2)


def two_samples():
    cases = []
    plan = [
        (5, 7, 0.0), (8, 8, 1.0), (1, 4, 0.0), (30, 30, 0.3), (50, 70, 0.0), (50, 70, 0.6), (64, 200, 0.2), (101, 203, 0.0),
        (120, 360, 1.5), (250, 250, 0.2),
    ]
    for n, m, shift in plan:
        for kind in ("normal", "ties", "lognormal"):
            a = numbers(np.round(draws(kind, n), 4))
            b = numbers(np.round(draws(kind, m, shift), 4))
            row = {"kind": kind, "a": a, "b": b, "wasserstein": float(stats.wasserstein_distance(a, b))}
            for method in ("auto", "asymp"):
                result = stats.ks_2samp(a, b, method=method)
                row["statistic"], row[method] = float(result.statistic), float(result.pvalue)
            cases.append(row)
    return cases


def large_two_samples():
    """Formula samples, so that the file stays small: a_i = i / n, b_j = ((j + 0.5) / m) ** power."""
    cases = []
    for n, m, power in ((512, 8192, 1.05), (512, 1021, 1.12), (1000, 10_001, 1.03), (3000, 40_000, 1.06), (9973, 9973, 1.04), (300, 20_000, 1.4)):
        a = np.arange(n) / n
        b = ((np.arange(m) + 0.5) / m) ** power
        result = stats.ks_2samp(a, b)
        asymptotic = stats.ks_2samp(a, b, method="asymp")
        cases.append(
            {
                "n": n, "m": m, "power": power, "statistic": float(result.statistic), "auto": float(result.pvalue),
                "asymp": float(asymptotic.pvalue), "wasserstein": float(stats.wasserstein_distance(a, b)),
            }
        )
    return cases


def psi(reference, window):
    p = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    q = (window + 0.5) / (window.sum() + 0.5 * len(window))
    index = float(((p - q) * np.log(p / q)).sum())
    law = 1 / reference.sum() + 1 / window.sum()
    return index, float(stats.chi2.sf(index / law, len(reference) - 1))


def counts():
    cases = []
    for shares, n, m in (
        ([0.25] * 4, 400, 200), ([0.5, 0.3, 0.2], 1000, 300), ([0.1] * 10, 5000, 500), ([0.05] * 20, 8000, 900),
        ([0.7, 0.2, 0.06, 0.04], 3000, 1000), ([0.5, 0.5], 60, 40),
    ):
        for drift in (0.0, 0.4):
            moved = np.array(shares) * np.exp(drift * rng.normal(size=len(shares)))
            reference, window = rng.multinomial(n, shares), rng.multinomial(m, moved / moved.sum())
            chi = stats.chi2_contingency([reference, window], correction=False)
            index, p = psi(reference, window)
            cases.append(
                {
                    "reference": [int(x) for x in reference], "window": [int(x) for x in window],
                    "smallestExpected": float(chi.expected_freq.min()), "chiSquare": float(chi.statistic), "df": int(chi.dof),
                    "chiSquareP": float(chi.pvalue), "jensenShannon": float(jensenshannon(reference, window)),
                    "psi": index, "psiP": p,
                }
            )
    return cases


def false_discovery():
    cases = []
    for size in (1, 2, 7, 50):
        p = numbers(np.round(rng.uniform(size=size) ** 2, 6))
        cases.append({"p": p, "expected": numbers(stats.false_discovery_control(p))})
    cases.append({"p": [0.01, 0.01, 1.0, 0.0], "expected": numbers(stats.false_discovery_control([0.01, 0.01, 1.0, 0.0]))})
    return cases


def paired():
    cases = []
    for size, gain in ((5, 0.5), (40, 0.1), (300, 0.02)):
        champion = np.round(rng.normal(1, 0.3, size), 5)
        challenger = np.round(champion + rng.normal(gain, 0.2, size), 5)
        test = stats.ttest_rel(challenger, champion)
        cases.append(
            {
                "challenger": numbers(challenger), "champion": numbers(champion), "mean": float((challenger - champion).mean()),
                "standardError": float(stats.sem(challenger - champion)),
                "lowerBound": float(test.confidence_interval(0.95).low),
            }
        )
    return cases


def betting():
    """Independent of our moments: the product over single values, in the order of arrival."""
    stakes = 0.9 / 2.0 ** np.arange(14)
    cases = []
    for rate, size, m in ((0.02, 3000, 0.01), (0.5, 400, 0.45), (0.3, 100, 0.3), (0.9, 50, 0.5), (0.0, 200, 0.1), (0.2, 300, 0.5)):
        ones = (rng.uniform(size=size) < rate).astype(float)
        above = np.log1p(np.outer(stakes, (ones - m) / m)).sum(axis=1)
        below = np.log1p(np.outer(stakes, ((1 - ones) - (1 - m)) / (1 - m))).sum(axis=1)
        mix = [float(special.logsumexp(log) - np.log(len(stakes))) for log in (above, below)]
        cases.append({"ones": int(ones.sum()), "count": size, "m": m, "above": mix[0], "below": mix[1]})
    return cases


def main():
    golden = {
        "scipy": scipy.__version__,
        **functions(),
        **kolmogorov(),
        "twoSamples": two_samples(),
        "largeTwoSamples": large_two_samples(),
        "counts": counts(),
        "falseDiscovery": false_discovery(),
        "paired": paired(),
        "betting": betting(),
    }
    lines = []
    for name, value in golden.items():
        if isinstance(value, str):
            lines.append(f"{json.dumps(name)}: {json.dumps(value)}")
        else:
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f"{json.dumps(name)}: [\n{rows}\n]")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
