# phonybrains in a container. On Linux, PyTorch comes with gigabytes of CUDA unless the index of its CPU builds is named:
#
#   docker build -t phonybrains --build-arg TORCH_INDEX=<address> .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" phonybrains generate heads -n 95 --out samples/
#
# docs/install.md says more. phonybrains.def does the same for Apptainer.
FROM docker.io/library/python:3.11-slim AS build
ARG TORCH_INDEX=default
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/phonybrains && \
    if [ "$TORCH_INDEX" != default ]; then \
        /opt/phonybrains/bin/pip install -c constraints.txt --no-deps --index-url "$TORCH_INDEX" torch; \
    fi
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN /opt/phonybrains/bin/pip install -c constraints.txt ".[pacs,remote,c2pa]"

FROM docker.io/library/python:3.11-slim
COPY --from=build /opt/phonybrains /opt/phonybrains
# Whoever the container runs as can write both: --user gives a user who has no home.
RUN useradd --uid 1000 --create-home phonybrains && mkdir /data && chmod 1777 /data /home/phonybrains
ENV PATH=/opt/phonybrains/bin:$PATH HOME=/home/phonybrains
USER 1000
WORKDIR /data
ENTRYPOINT ["phonybrains"]
CMD ["--help"]
