# The token service (target `service`) and the orders example (target `orders`).
#
# Built by: docker build --target service -t authmint-service .
# Not checked where this was written: a build by an engine. Checked by tests/containers: that each RUN line of the builder works in a
# fresh virtual environment, and that the commands of both results run there.

FROM python:3.13-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY tools/requirements.py tools/package_readme.py ./tools/
COPY authmint ./authmint
COPY service ./service
COPY alembic ./alembic
COPY examples/spa ./examples/spa
RUN python -m venv /build && /build/bin/pip install --require-hashes -r constraints.txt
RUN /build/bin/python -m hatchling build -t wheel -d /wheels && cd authmint && /build/bin/python -m hatchling build -t wheel -d /wheels
RUN /build/bin/pip install --no-deps /wheels/*.whl
RUN python -m venv /service && /build/bin/python tools/requirements.py authmint-service > service.txt && /service/bin/pip install --require-hashes -r service.txt && /service/bin/pip install --no-deps /wheels/*.whl && /service/bin/pip check
RUN python -m venv /orders && /build/bin/python tools/requirements.py authmint uvicorn fastapi-swagger > orders.txt && /orders/bin/pip install --require-hashes -r orders.txt && /orders/bin/pip install --no-deps /wheels/authmint-[0-9]*.whl && /orders/bin/pip check

# The results have the environment, and neither a compiler nor the sources.
FROM python:3.13-slim AS service
RUN useradd --system --uid 10001 --no-create-home authmint
COPY --from=builder /service /service
ENV PATH=/service/bin:$PATH PYTHONUNBUFFERED=1 AUTHMINT_HOST=0.0.0.0 AUTHMINT_PORT=8000
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=6 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["authmint-service", "serve"]

FROM python:3.13-slim AS orders
RUN useradd --system --uid 10001 --no-create-home orders
COPY --from=builder /orders /orders
COPY examples/orders/orders /app/orders
ENV PATH=/orders/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001
EXPOSE 8001
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=6 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/livez', timeout=2)"]
CMD ["uvicorn", "orders.app:app", "--host", "0.0.0.0", "--port", "8001", "--no-server-header"]
