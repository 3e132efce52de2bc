"""Deploys what an emulator of AWS supports of the stacks, and checks that it stands: imports, conditions, policies and code resolve.

    python3 emulate.py INFRA_DIRECTORY

Starts ministack on a free port of this machine, creates every stack in order with the parameters of dev, creates nothing a second time, and
ends it. Resource types that the emulator does not know are left out, by name, with what refers to them replaced by a name: what they
are (the cluster and its topics first of all) nothing here proves. Ends with 1, and the first reason, when a stack does not stand.
"""

import io
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import zipfile

import botocore.session
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

REGION = "us-east-1"
ENVIRONMENT = "dev"
# What ministack 1.5.33 refuses by its type.
UNSUPPORTED = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Budgets::Budget",
    "AWS::Budgets::BudgetsAction",
    "AWS::CE::AnomalyMonitor",
    "AWS::CE::AnomalySubscription",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::EC2::FlowLog",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::MSK::Cluster",
    "AWS::MSK::ClusterPolicy",
    "AWS::MSK::Configuration",
    "AWS::MSK::Topic",
}
START_SECONDS = 90
STACK_SECONDS = 120


class Template(yaml.SafeLoader):
    """YAML with CloudFormation's short tags, in their long form."""


def long_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Template.add_multi_constructor("!", long_form)


def is_unsupported(resource: dict) -> bool:
    # An alarm on several metrics is refused too.
    is_math = resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource.get("Properties", {})
    return is_math or resource["Type"] in UNSUPPORTED


def reduced(template: dict) -> tuple[dict, list[str]]:
    """The template without what is not supported, and the types that were left out."""
    gone = {name for name, resource in template["Resources"].items() if is_unsupported(resource)}
    left_out = sorted({template["Resources"][name]["Type"] for name in gone})

    def name_of(logical_id: str) -> str:
        kind = template["Resources"][logical_id]["Type"].split("::")
        plain = f"{kind[1].lower()}-{logical_id}"
        # Whoever splits the ARN of a cluster finds its parts.
        arn = f"arn:aws:kafka:{REGION}:000000000000:cluster/{ENVIRONMENT}-centinela/{logical_id}"
        return arn if kind[1] == "MSK" else plain

    def replaced(value):
        if isinstance(value, list):
            return [replaced(one) for one in value]
        if not isinstance(value, dict):
            return value
        if value.get("Ref") in gone:
            return name_of(value["Ref"])
        if isinstance(value.get("Fn::GetAtt"), list):
            logical_id, attribute = value["Fn::GetAtt"]
            if logical_id in gone:
                return name_of(logical_id)
            # The emulator gives a network no such attribute; it is what the network was created with.
            if attribute == "CidrBlock":
                return template["Resources"][logical_id]["Properties"]["CidrBlock"]
        if "Fn::Sub" in value:
            text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
            for logical_id in gone:
                text = re.sub(r"\$\{" + logical_id + r"(\.[A-Za-z.]+)?\}", name_of(logical_id), text)
            rest = [] if isinstance(value["Fn::Sub"], str) else [replaced(value["Fn::Sub"][1])]
            return {"Fn::Sub": [text, *rest] if rest else text}
        return {key: replaced(one) for key, one in value.items()}

    kept = {name: resource for name, resource in template["Resources"].items() if name not in gone}
    small = {key: replaced(value) for key, value in template.items() if key not in ("Resources", "Rules")}
    small["Resources"] = {name: replaced(resource) for name, resource in kept.items()}
    for resource in small["Resources"].values():
        waits = resource.get("DependsOn", [])
        waits = [one for one in ([waits] if isinstance(waits, str) else waits) if one not in gone]
        resource.pop("DependsOn", None)
        if waits:
            resource["DependsOn"] = waits
    return small, left_out


def folded(condition, values: dict):
    """A condition without the functions that the emulator does not know in one: they are worked out from the parameters."""
    if isinstance(condition, list):
        return [folded(one, values) for one in condition]
    if not isinstance(condition, dict):
        return condition
    if isinstance(condition.get("Fn::Join"), list) and "Ref" in condition["Fn::Join"][1]:
        separator, parameter = condition["Fn::Join"]
        return separator.join(values[parameter["Ref"]].split(","))
    if isinstance(condition.get("Fn::Select"), list) and "Fn::Split" in condition["Fn::Select"][1]:
        index, split = condition["Fn::Select"]
        separator, parameter = split["Fn::Split"]
        return values[parameter["Ref"]].split(separator)[int(index)]
    return {key: folded(one, values) for key, one in condition.items()}


class Emulator:
    """A process of its own, on a free port of this machine."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        more = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
        self.log = open(pathlib.Path(self.directory.name) / "log", "w+")
        program = pathlib.Path(sys.executable).parent / "ministack"
        environment = {**os.environ, **more, "TMPDIR": self.directory.name}
        self.process = subprocess.Popen(
            [program], env=environment, cwd=self.directory.name, stdout=self.log, stderr=self.log
        )

    def client(self, service: str):
        session = botocore.session.Session()
        session.set_credentials("test", "test")
        config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        return session.create_client(service, region_name=REGION, endpoint_url=self.url, config=config)

    def wait(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                return self.client("sts").get_caller_identity()
            except (ClientError, EndpointConnectionError):
                time.sleep(0.2)
        raise SystemExit(f"found: the emulator does not answer: {self.words()}")

    def words(self) -> str:
        """The end of what it wrote."""
        self.log.seek(0)
        return self.log.read()[-2000:]

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.directory.cleanup()


def files(infra: pathlib.Path) -> list[pathlib.Path]:
    found = [*infra.glob("*.yaml"), *infra.glob("[0-9]*/*.yaml")]
    return sorted(found, key=lambda path: str(path.relative_to(infra)))


def outcome(stacks, name: str) -> dict:
    until = time.monotonic() + STACK_SECONDS
    while time.monotonic() < until:
        stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack
        time.sleep(0.1)
    raise SystemExit(f"found: stack {name} is {stack['StackStatus']} after {STACK_SECONDS} s")


def deploy(emulator: Emulator, infra: pathlib.Path) -> None:
    values = json.loads((infra / "env" / f"{ENVIRONMENT}.json").read_text())["Parameters"]
    stacks = emulator.client("cloudformation")
    emulator.client("ssm").put_parameter(Name=values["KafkaBootstrap"], Value="b-1.example:9098", Type="String")
    total = 0
    for path in files(infra):
        stack, left_out = reduced(yaml.load(path.read_text(), Template))
        all_values = {key: str(one.get("Default", "")) for key, one in stack.get("Parameters", {}).items()} | values
        stack["Conditions"] = folded(stack.get("Conditions", {}), all_values)
        name = f"{ENVIRONMENT}-centinela-{path.stem}"
        where = path.relative_to(infra)
        if not stack["Resources"]:
            print(f"left out: {where}, which has nothing but {', '.join(left_out)}")
            continue
        parameters = [
            {"ParameterKey": key, "ParameterValue": values[key]} for key in stack.get("Parameters", {}) if key in values
        ]
        request = {
            "StackName": name,
            "TemplateBody": json.dumps(stack),
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        }
        try:
            stacks.create_stack(**request)
        except (ClientError, ResponseParserError) as error:
            raise SystemExit(f"found: {where} is refused: {error}\n{emulator.words()}") from error
        created = outcome(stacks, name)
        if created["StackStatus"] != "CREATE_COMPLETE":
            events = stacks.describe_stack_events(StackName=name)["StackEvents"]
            why = [
                f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason', 'no reason')}"
                for one in reversed(events)
                if one["ResourceStatus"].endswith("_FAILED")
            ]
            raise SystemExit(f"found: {where} is {created['StackStatus']}: {'; '.join(why[:5])}")
        resources = stacks.describe_stack_resources(StackName=name)["StackResources"]
        bad = [one["LogicalResourceId"] for one in resources if one["ResourceStatus"] != "CREATE_COMPLETE"]
        if bad:
            raise SystemExit(f"found: {where}: {', '.join(bad)} are not there")
        total += len(resources)
        upload_code(emulator, created, values)
        unchanged(stacks, request, where)
        rest = f", without {', '.join(kind.removeprefix('AWS::') for kind in left_out)}" if left_out else ""
        print(f"deployed: {where}, {len(resources)} resources{rest}")
    check(emulator, values)
    print(f"the emulator holds {total} resources of the stacks")


def upload_code(emulator: Emulator, stack: dict, values: dict) -> None:
    """A new function starts from an object in the artefact bucket: here it is a word."""
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
    if "ArtefactBucket" not in outputs:
        return
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\n")
    objects = emulator.client("s3")
    for key in (value for name, value in values.items() if name.endswith("CodeKey")):
        objects.put_object(Bucket=outputs["ArtefactBucket"], Key=key, Body=code.getvalue())


def unchanged(stacks, request: dict, where: pathlib.Path) -> None:
    """The same stack once more changes nothing."""
    try:
        stacks.update_stack(**request)
    except ClientError as error:
        if "No updates" in str(error):
            return
        raise SystemExit(f"found: {where} cannot be updated: {error}") from error
    after = outcome(stacks, request["StackName"])
    if after["StackStatus"] != "UPDATE_COMPLETE":
        raise SystemExit(f"found: {where} is {after['StackStatus']} after an update that changes nothing")


def check(emulator: Emulator, values: dict) -> None:
    """What crosses stacks has arrived."""
    prefix = values["NamePrefix"]
    function = emulator.client("lambda").get_function_configuration(FunctionName=f"{prefix}score-transactions")
    variables = function["Environment"]["Variables"]
    wanted = {"USER_TABLE": f"{prefix}user_state", "DECISIONS_STREAM": f"{prefix}decisions"}
    for name, value in wanted.items():
        if variables.get(name) != value:
            raise SystemExit(f"found: {name} of score-transactions is {variables.get(name)}, must be {value}")
    alarms = emulator.client("cloudwatch").describe_alarms(AlarmNames=[f"{prefix}centinela-lag"])["MetricAlarms"]
    if not alarms or not alarms[0]["AlarmActions"]:
        raise SystemExit("found: the lag alarm is not there, or tells nobody")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not pathlib.Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    emulator = Emulator()
    try:
        emulator.wait()
        deploy(emulator, pathlib.Path(arguments[0]).resolve())
    finally:
        emulator.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
