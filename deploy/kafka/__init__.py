"""Kafka as it is deployed: the declared topics and the pinned artefacts of the local broker."""
