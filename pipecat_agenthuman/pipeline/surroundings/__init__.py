"""What stands around the service: the pipeline, other services, the room and who is in it."""
