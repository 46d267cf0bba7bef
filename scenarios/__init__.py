"""What the learner meets: images, streams, episodes."""
