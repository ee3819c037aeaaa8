"""Training: one noun for how somebody makes an update; every procedure takes it."""
