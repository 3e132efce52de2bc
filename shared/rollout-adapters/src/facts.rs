//! Who asks, what the region has, which names are taken, and what is kept in Parameter Store.

use bytes::Bytes;
use centinela_rollout::{Caller, CloudError, Zone};
use centinela_signed_http::{Asked, encoded};
use http::Method;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::call::{ATTEMPT, Failure, unreadable};

impl Aws {
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
    pub(crate) fn get_caller(&self) -> Result<Caller, CloudError> {
        let (answer, _) = self.query("sts", "2011-06-15", "GetCallerIdentity", &[])?;
        let text = |name: &str| {
            let text = answer.deep_text(name).map(str::to_owned);
            text.ok_or_else(|| unreadable(format!("the answer to who asks has no {name}")))
        };
        Ok(Caller { account: text("Account")?, arn: text("Arn")? })
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAvailabilityZones.html>
    pub(crate) fn get_zones(&self) -> Result<Vec<Zone>, CloudError> {
        let (answer, _) = self.query("ec2", "2016-11-15", "DescribeAvailabilityZones", &[])?;
        let zones = answer.list("availabilityZoneInfo").iter();
        // Local and wavelength zones must be opted into.
        let is_usual = |status: &str| status.is_empty() || status == "opt-in-not-required";
        let usual = zones.filter(|zone| zone.text("zoneState") == "available" && is_usual(zone.text("optInStatus")));
        Ok(usual.map(|zone| Zone { id: zone.text("zoneId").into(), name: zone.text("zoneName").into() }).collect())
    }

    /// One operation for every type: <https://docs.aws.amazon.com/cloudcontrolapi/latest/APIReference/API_GetResource.html>
    pub(crate) fn get_exists(&self, kind: &str, identifier: &str) -> Result<bool, CloudError> {
        let body = json!({ "TypeName": kind, "Identifier": identifier });
        match self.target("cloudcontrolapi", '0', "CloudApiService.GetResource", &body) {
            Ok(_) => Ok(true),
            Err(Failure::Refused(refusal)) if refusal.code == "ResourceNotFoundException" => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// <https://docs.aws.amazon.com/msk/1.0/apireference/clusters-clusterarn-bootstrap-brokers.html>
    pub(crate) fn get_brokers(&self, cluster_arn: &str) -> Result<String, CloudError> {
        let path = format!("/v1/clusters/{}/bootstrap-brokers", encoded(cluster_arn, false));
        let asked = Asked { path: &path, ..Asked::default() };
        let answered = self.ask("kafka", Method::GET, &asked, Bytes::new(), ATTEMPT)?;
        let answer: Value = serde_json::from_slice(&answered.answer.body).map_err(unreadable)?;
        // The API's names begin in either case, by the SDK that is read about it.
        let names = ["bootstrapBrokerStringSaslIam", "BootstrapBrokerStringSaslIam"];
        let addresses = names.iter().find_map(|name| answer[*name].as_str()).filter(|text| !text.is_empty());
        addresses.map(str::to_owned).ok_or_else(|| unreadable(format!("{cluster_arn} has no brokers that take IAM")))
    }

    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>
    pub(crate) fn get_parameter(&self, name: &str) -> Result<Option<String>, CloudError> {
        match self.target("ssm", '1', "AmazonSSM.GetParameter", &json!({ "Name": name })) {
            Ok(answer) => Ok(answer["Parameter"]["Value"].as_str().map(str::to_owned)),
            Err(Failure::Refused(refusal)) if refusal.code == "ParameterNotFound" => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) fn put_parameter(&self, name: &str, value: &str) -> Result<(), CloudError> {
        let body = json!({ "Name": name, "Value": value, "Type": "String", "Overwrite": true });
        self.target("ssm", '1', "AmazonSSM.PutParameter", &body)?;
        Ok(())
    }

    pub(crate) fn remove_parameter(&self, name: &str) -> Result<(), CloudError> {
        match self.target("ssm", '1', "AmazonSSM.DeleteParameter", &json!({ "Name": name })) {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.code == "ParameterNotFound" => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}
