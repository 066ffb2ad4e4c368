"""MLflow: runs, view, server, registry. Plain values in."""

import os

# MLflow reads these when it is imported, which is after this file. A search sends nothing anywhere.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A server that is away is tried again later; by default MLflow tries for four minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
