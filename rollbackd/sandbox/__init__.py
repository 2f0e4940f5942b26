"""A local Fly, its apps and scenarios."""
