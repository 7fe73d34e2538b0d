"""Makes what Prometheus and Grafana read from what is written once: objectives and dashboards."""
