"""What the real Optuna answers, as JSON lines, for the tests that compare Trainyard with it.

    python scripts/hpo/optuna_reference.py pruning --count 400 --seed 1 > services/orchestrator/domain/pruning/golden/optuna-histories.jsonl
    python scripts/hpo/optuna_reference.py tpe --seed 1 > lib/search-space/golden/optuna-tpe.jsonl

Made with optuna 5.0.0 and numpy 2.4.6. Only tests need it; nothing of Trainyard runs Python.
"""

import argparse
import functools
import json
import math
import random
import sys
import unittest.mock
import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_weights
from optuna.trial import TrialState


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["pruning", "tpe"])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    rng = random.Random(arguments.seed)
    if arguments.what == "pruning":
        for _ in range(arguments.count):
            write(history(rng))
    else:
        for case in tpe_cases(rng):
            write(case)


def write(value) -> None:
    sys.stdout.write(json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n")


def stored(value: float):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


# --- pruning: whole histories of interleaved trials ---


def history(rng: random.Random) -> dict:
    direction = rng.choice(["minimize", "maximize"])
    settings, pruner = policy(rng)
    study = optuna.create_study(direction=direction, pruner=pruner)
    in_order = settings["strategy"] == "asha"
    draw = values(rng)
    running: dict[int, optuna.Trial] = {}
    steps: dict[int, list[int]] = {}
    waiting = rng.randint(2, 12)
    events = []
    while waiting > 0 or running:
        if waiting > 0 and (not running or rng.random() < 0.15):
            trial = study.ask()
            running[trial.number] = trial
            steps[trial.number] = schedule(rng, in_order)
            waiting -= 1
            continue
        number = rng.choice(sorted(running))
        trial = running[number]
        if not steps[number]:
            outcome = "failed" if rng.random() < 0.1 else "completed"
            end(study, trial, outcome)
            del running[number]
            events.append(["end", number, outcome])
            continue
        step = steps[number].pop(0)
        value = draw()
        trial.report(value, step)
        pruned = bool(trial.should_prune())
        events.append(["report", number, step, stored(value), pruned])
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
            del running[number]
    return {"direction": direction, "settings": settings, "events": events}


def policy(rng: random.Random):
    strategy = rng.choice(["median", "percentile", "percentile", "asha"])
    if strategy == "asha":
        settings = {"strategy": strategy, "minimumSteps": rng.randint(1, 5), "reductionFactor": rng.randint(2, 4)}
        return settings, optuna.pruners.SuccessiveHalvingPruner(
            min_resource=settings["minimumSteps"], reduction_factor=settings["reductionFactor"]
        )
    settings = {
        "strategy": strategy,
        "warmUpSteps": rng.choice([0, 0, 1, 3, 5]),
        "everySteps": rng.choice([1, 1, 2, 3, 10]),
        "startupTrials": rng.choice([0, 1, 2, 5]),
        "minimumPeers": rng.choice([1, 1, 1, 2, 3]),
    }
    common = (settings["startupTrials"], settings["warmUpSteps"], settings["everySteps"])
    if strategy == "median":
        return settings, optuna.pruners.MedianPruner(*common, n_min_trials=settings["minimumPeers"])
    settings["percentile"] = rng.choice([0, 10, 25, 33.3, 50, 66.7, 75, 90, 100, rng.uniform(0, 100)])
    return settings, optuna.pruners.PercentilePruner(
        settings["percentile"], *common, n_min_trials=settings["minimumPeers"]
    )


def schedule(rng: random.Random, in_order: bool) -> list[int]:
    start = rng.choice([0, 0, 1, 2])
    steps = list(range(start, start + rng.randint(0, 12)))
    if rng.random() < 0.3:
        steps = sorted(rng.sample(range(40), len(steps)))
    if not in_order and rng.random() < 0.2:
        rng.shuffle(steps)
    return steps


def values(rng: random.Random):
    """Few different values make ties; some histories hold values that are no finite numbers."""
    kind = rng.choice(["grid", "tenths", "continuous"])
    odd = rng.choice([0, 0, 0.1, 0.5])

    def draw() -> float:
        if rng.random() < odd:
            return rng.choice([math.nan, math.nan, math.inf, -math.inf])
        if kind == "grid":
            return float(rng.randint(0, 3))
        if kind == "tenths":
            return rng.randint(-9, 9) / 10
        return rng.gauss(0, 1)

    return draw


def end(study: optuna.Study, trial: optuna.Trial, outcome: str) -> None:
    if outcome == "failed":
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, 0.0)


# --- TPE: densities, the split into good and bad, quantiles ---

PARAMETERS = [
    ({"name": "rate", "type": "float", "min": 1e-5, "max": 1e-1, "log": True}, FloatDistribution(1e-5, 1e-1, log=True)),
    ({"name": "dropout", "type": "float", "min": 0, "max": 0.5}, FloatDistribution(0, 0.5)),
    (
        {"name": "decay", "type": "float", "min": 0, "max": 0.5, "step": 0.1},
        FloatDistribution(0, 0.5, step=0.1),
    ),
    ({"name": "layers", "type": "int", "min": 1, "max": 12}, IntDistribution(1, 12)),
    ({"name": "heads", "type": "int", "min": 2, "max": 16, "step": 2}, IntDistribution(2, 16, step=2)),
    ({"name": "width", "type": "int", "min": 1, "max": 1024, "log": True}, IntDistribution(1, 1024, log=True)),
    (
        {"name": "optimiser", "type": "categorical", "choices": ["sgd", "adam", "lion"]},
        CategoricalDistribution(["sgd", "adam", "lion"]),
    ),
]


def tpe_cases(rng: random.Random):
    for chosen in [[p] for p in PARAMETERS] + [PARAMETERS, PARAMETERS[:2], PARAMETERS[2:5]]:
        for n in [0, 1, 2, 3, 10, 24, 25, 26, 27, 60, 150]:
            yield density_case(rng, chosen, n)
    for _ in range(60):
        yield split_case(rng)
    yield quantile_case(rng)


def density_case(rng: random.Random, chosen, n: int) -> dict:
    space = {spec["name"]: distribution for spec, distribution in chosen}
    observed = [[draw(rng, d) for d in space.values()] for _ in range(n)]
    points = [[draw(rng, d) for d in space.values()] for _ in range(12)]
    columns = lambda rows: {name: np.array([row[i] for row in rows], dtype=float) for i, name in enumerate(space)}
    parameters = _ParzenEstimatorParameters(
        prior_weight=1.0,
        consider_magic_clip=True,
        consider_endpoints=False,
        weights=default_weights,
        multivariate=True,
    )
    # numpy's sort leaves the order of equal values open, and with it which of two equal kernels gets which width.
    with unittest.mock.patch.object(np, "argsort", functools.partial(np.argsort, kind="stable")):
        estimator = _ParzenEstimator(columns(observed), space, parameters)
    return {
        "case": "density",
        "parameters": [spec for spec, _ in chosen],
        "observations": observed,
        "points": points,
        "logDensities": estimator.log_pdf(columns(points)).tolist(),
    }


def draw(rng: random.Random, distribution) -> float:
    """In Optuna's internal representation: the index of a choice, else the value."""
    if isinstance(distribution, CategoricalDistribution):
        return rng.randrange(len(distribution.choices))
    low, high = distribution.low, distribution.high
    x = math.exp(rng.uniform(math.log(low), math.log(high))) if distribution.log else rng.uniform(low, high)
    if rng.random() < 0.1:
        x = rng.choice([low, high])
    if distribution.step is not None:
        x = low + round((x - low) / distribution.step) * distribution.step
    return min(high, max(low, x))


def split_case(rng: random.Random) -> dict:
    direction = rng.choice(["minimize", "maximize"])
    study = optuna.create_study(direction=direction)
    trials = []
    for number in range(rng.choice([0, 1, 5, 9, 10, 11, 40, 300])):
        outcome = rng.choice(["completed", "completed", "pruned", "pruned", "running"])
        value = rng.randint(0, 20) / 10
        reports = sorted(rng.sample(range(9), rng.randint(0, 3)))
        curve = {step: (math.nan if rng.random() < 0.2 else rng.randint(0, 9) / 10) for step in reports}
        states = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "running": TrialState.RUNNING}
        study.add_trial(
            optuna.trial.create_trial(
                state=states[outcome], value=value if outcome == "completed" else None, intermediate_values=curve
            )
        )
        last = None if not curve else {"step": max(curve), "value": stored(curve[max(curve)])}
        trials.append({"outcome": outcome, "value": value if outcome == "completed" else None, "last": last})
    finished = sum(trial["outcome"] != "running" for trial in trials)
    below, above = _split_trials(study, study.get_trials(deepcopy=False), default_gamma(finished))
    return {
        "case": "split",
        "direction": direction,
        "trials": trials,
        "good": [trial.number for trial in below],
        "bad": [trial.number for trial in above],
    }


def quantile_case(rng: random.Random) -> dict:
    rows = []
    for _ in range(300):
        a = rng.uniform(-8, 8) if rng.random() < 0.8 else rng.uniform(-60, 60)
        b = a + 10 ** rng.uniform(-3, 2)
        q = rng.choice([rng.random(), 1e-9, 1 - 1e-9])
        mass = float(_truncnorm._log_gauss_mass(np.array([a]), np.array([b]))[0])
        quantile = float(_truncnorm.ppf(np.array([q]), np.array([a]), np.array([b]))[0])
        rows.append([a, b, q, mass, quantile])
    return {"case": "quantile", "rows": rows}


if __name__ == "__main__":
    main()
