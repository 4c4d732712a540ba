# The image of `astro dev start` and of Astro deployments; the one of `docker compose` is deploy/Dockerfile.
# `-base`: the ordinary image would install requirements.txt by itself, and refuse its pin of Airflow.
FROM astrocrpublic.azurecr.io/runtime:3.3-2-base

WORKDIR /usr/local/airflow
COPY requirements.txt ./
# Airflow itself is the image's own build of it; everything else is as pinned.
RUN grep -v '^apache-airflow==' requirements.txt > /tmp/pinned.txt \
    && pip install --no-cache-dir -r /tmp/pinned.txt \
    && rm /tmp/pinned.txt
COPY --chown=astro:0 . .

ENV PYTHONPATH=/usr/local/airflow:/usr/local/airflow/plugins \
    WAYBILL_HOME=/usr/local/airflow/state \
    GX_ANALYTICS_ENABLED=false
