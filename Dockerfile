# Two images: `api` (the control plane and its command line, no torch) and `worker` (trainers and inference replicas); and
# `worker-cuda`, for trainers on NVIDIA's GPUs, which has never been built or run by us.
FROM python:3.11-slim AS control-plane
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --create-home pretune \
    && install -d -o pretune -g pretune /var/lib/pretune/artifacts /var/lib/pretune/cache /var/lib/pretune/scratch
WORKDIR /srv
# The packages' names alone, so that a change of our code leaves the layers of dependencies as they are.
COPY pyproject.toml constraints.txt constraints-cuda.txt README.md LICENSE ./
RUN mkdir app worker migrations && touch app/__init__.py worker/__init__.py migrations/__init__.py
RUN --mount=type=cache,target=/root/.cache/pip pip install -c constraints.txt ".[otel]"
ENV PRETUNE_DATA_DIR=/var/lib/pretune

FROM control-plane AS api
RUN --mount=type=bind,target=.,rw pip install --no-deps --force-reinstall .
USER 10001
WORKDIR /var/lib/pretune
ENV PRETUNE_HOST=0.0.0.0 PRETUNE_PORT=8080
EXPOSE 8080
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8080", "--timeout-graceful-shutdown", "10", "--no-access-log"]

FROM control-plane AS compilers
# torch.compile on a CPU makes C++ and needs its compiler; on a GPU it compiles what starts its kernels.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

FROM compilers AS worker-cuda
# Where torch's builds for CUDA are.
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/root/.cache/pip pip install -c constraints.txt -c constraints-cuda.txt ".[worker]"
RUN --mount=type=bind,target=.,rw pip install --no-deps --force-reinstall .
USER 10001
WORKDIR /var/lib/pretune
ENV GOMP_SPINCOUNT=10000
CMD ["celery", "-q", "-A", "worker.celery_app", "worker", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]

FROM compilers AS worker
RUN --mount=type=cache,target=/root/.cache/pip pip install -c constraints.txt ".[worker]"
RUN --mount=type=bind,target=.,rw pip install --no-deps --force-reinstall .
USER 10001
WORKDIR /var/lib/pretune
# As in worker/supervisor/environment.py: threads that wait give the core away.
ENV GOMP_SPINCOUNT=10000
CMD ["celery", "-q", "-A", "worker.celery_app", "worker", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
