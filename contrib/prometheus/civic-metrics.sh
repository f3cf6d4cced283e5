#!/bin/sh
# What civic has counted, for the textfile collector of Prometheus' node exporter. From cron, as a user who may read the
# deployment:
#   * * * * * /usr/local/lib/civic/civic-metrics.sh /srv/civicpress/.system-data /var/lib/prometheus/node-exporter
set -eu
data=$1 target=$2/civic.prom
# The collector must never see half of it.
unfinished=$(mktemp "$target.XXXXXX")
trap 'rm -f "$unfinished"' EXIT
civic --system-data "$data" storage:metrics --format prometheus >"$unfinished"
chmod 644 "$unfinished"
mv "$unfinished" "$target"
