"""Monitoring: metrics for Prometheus, points for InfluxDB, and traces. All are off by default."""
