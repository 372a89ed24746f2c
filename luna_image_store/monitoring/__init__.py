"""What is told of the service to those who watch it: metrics, points for InfluxDB, traces. All of it is off unless it is wanted."""
