"""The edge: errors, heat and Sentry envelopes come in and are durable before they are answered."""
