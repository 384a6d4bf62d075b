"""What each ecosystem's phases execute inside the pod."""
