#!/bin/sh
# Runs once, on an empty volume: a database and a user for Waybill, and one of each for Airflow.
set -eu
psql -v ON_ERROR_STOP=1 -v waybill="$WAYBILL_DATABASE_PASSWORD" -v airflow="$AIRFLOW_DATABASE_PASSWORD" <<'SQL'
create role waybill login password :'waybill';
create database waybill owner waybill;
create role airflow login password :'airflow';
create database airflow owner airflow;
revoke connect on database waybill from public;
revoke connect on database airflow from public;
SQL
