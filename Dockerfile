# The command line, for a server or a cluster; napari needs a window and is not in it.
#
#   docker build -t caltomorph .                              # CPU
#   docker build -t caltomorph --build-arg TORCH=cu128 .      # NVIDIA GPU; run it with --gpus all
#   docker run --rm --network none -v "$PWD:/data" --user "$(id -u):$(id -g)" caltomorph predict smear_a --model demo --out results

FROM python:3.13-slim AS build
# The version is the tag, so git reads it from the copy of .git
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.13-slim
ARG TORCH=cpu
RUN pip install --no-cache-dir --index-url "https://download.pytorch.org/whl/${TORCH}" torch torchvision
COPY --from=build /wheels /wheels
RUN wheel="$(ls /wheels/*.whl)" && pip install --no-cache-dir "${wheel}[parquet,umap,anndata]" && rm -rf /wheels

# Weights and models are in this folder: mount it to keep them. Anyone may write there, as --user may be anyone.
ENV CALTOMORPH_HOME=/home/caltomorph/data MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba HF_HUB_OFFLINE=1
RUN useradd --create-home caltomorph && mkdir --mode=1777 "${CALTOMORPH_HOME}"
USER caltomorph
WORKDIR /data
ENTRYPOINT ["caltomorph"]
CMD ["--help"]
