"""What packages that extend lineal test themselves with."""
