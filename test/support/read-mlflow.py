"""What MLflow's own Python client reads of one model and one run, as JSON: read-mlflow.py TRACKING_URI MODEL EXPERIMENT RUN_ID METRIC"""

import json
import sys

from mlflow.tracking import MlflowClient

uri, model, experiment, run_id, metric = sys.argv[1:]
client = MlflowClient(tracking_uri=uri, registry_uri=uri)

versions = client.search_model_versions(f"name = '{model}'")
prod = client.get_model_version_by_alias(model, "prod")
found = client.search_runs(
    [client.get_experiment_by_name(experiment).experiment_id],
    f"tags.`trainyard.run_id` = '{run_id}'",
)
run = client.get_run(found[0].info.run_id)
history = client.get_metric_history(run.info.run_id, metric)

json.dump(
    {
        "versions": [
            {"version": v.version, "source": v.source, "runId": v.run_id, "tags": v.tags} for v in versions
        ],
        "aliases": client.get_registered_model(model).aliases,
        "prod": {"version": prod.version, "stage": prod.tags["trainyard.stage"]},
        "runs": len(found),
        "run": {
            "id": run.info.run_id,
            "status": run.info.status,
            "params": run.data.params,
            "tags": run.data.tags,
            "last": run.data.metrics[metric],
        },
        "history": [{"step": m.step, "value": m.value} for m in history],
    },
    sys.stdout,
)
