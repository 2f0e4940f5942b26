"""Client of Fly.io: releases, machines, leases; rate limits, read-back, error classes."""
