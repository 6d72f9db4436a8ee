"""Signals become incidents: batches from Kafka, representatives in memory, links in the database."""
