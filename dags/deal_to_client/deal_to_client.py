"""A won deal becomes a client who is looked after; a lost one closes with its reason.

Runs whenever the CRM's news of deals are pending. Finance gets a case for each new client. In Airflow, every task can
be retried and cleared: a deal has one client, and each effect is sent once.
"""

from __future__ import annotations

from include.domain.deal_to_client.clients import hand_to_finance, log, plan_client
from include.domain.deal_to_client.onboarding import plan_onboarding_tasks, plan_welcome_mail
from include.domain.deal_to_client.read_deal import read_deal
from waybill.dags import CaseSteps, pending, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "deal_to_client"

with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__):
    steps = CaseSteps(ClaimCasesOperator(workflow=WORKFLOW))
    steps.rule("read_deal", read_deal)
    steps.effects("open_client", plan_client, system="crm")
    steps.effects("onboarding_tasks", plan_onboarding_tasks, system="crm")
    steps.effects("welcome_mail", plan_welcome_mail, system="mail")
    steps.rule("handoff", hand_to_finance)
    steps.rule("log", log)
