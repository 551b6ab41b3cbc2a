"""What the health checks of containers ask. A module for each: they are asked often, and imports cost the most."""
