"""What a quality manager does in the demonstration: the largest incidents are confirmed, one is fixed."""

from deploy.demo.stack import Stack

CONFIRMED = 3
REASON = "Demo: seen by the quality manager"


async def triage(stack: Stack) -> list[str]:
    """Confirms the largest open incidents, mitigates the second, fixes the first. Returns what was done, in words."""
    open_ones = [
        incident
        async for incident in stack.all_incidents(state="any")
        if incident["state"] in ("observed", "candidate")
    ]
    largest = sorted(open_ones, key=lambda incident: -sum(incident["counts"].values()))[:CONFIRMED]
    steps = [(incident, "confirm") for incident in largest]
    steps += [(incident, "mitigate") for incident in largest[:2]]
    steps += [(incident, "fix") for incident in largest[:1]]
    done = []
    for incident, command in steps:
        url = f"{stack.incidents}/v1/incidents/{incident['id']}/{command}"
        await stack.post(url, {"reason": REASON}, stack.quality_manager)
        done.append(f"{command}: {incident['title']}")
    return done
