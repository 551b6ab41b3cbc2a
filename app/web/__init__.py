"""The dashboard: pages, their scripts and their styles. What pages do, they do by the public API under `/v1`."""
