"""Pods: the disposable sealed environment of one run, behind one small interface."""
