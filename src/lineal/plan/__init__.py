"""The plan: every node of every round as a step with its inputs and outputs. Pure; checked before anything runs."""

from lineal.plan.plan import Plan, make_plan, plan_what_can_be
from lineal.plan.steps import Step, artifact_key

__all__ = ["Plan", "Step", "artifact_key", "make_plan", "plan_what_can_be"]
