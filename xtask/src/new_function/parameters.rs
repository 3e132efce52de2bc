//! The parameter file of an environment, with more parameters.

use serde_json::{Map, Value};

/// How the file ends; what is added comes before it, and the rest stays as it is.
const END: &str = "\n  }\n}\n";

/// Adds the parameters of one JSON object to a file `{"Parameters": {…}}`. The error says what is wrong with the file.
pub fn added(file: &str, parameters: &str) -> Result<String, String> {
    let parameters: Map<String, Value> = serde_json::from_str(parameters).map_err(|error| error.to_string())?;
    let known: Value = serde_json::from_str(file).map_err(|error| error.to_string())?;
    if let Some(name) = parameters.keys().find(|name| known["Parameters"].get(name.as_str()).is_some()) {
        return Err(format!("it has a parameter {name} already: remove it, or choose another name"));
    }
    let before = file.strip_suffix(END).ok_or("it must end with the last parameter and two braces, each on a line")?;
    let added: String = parameters.iter().map(|(name, value)| format!(",\n    \"{name}\": {value}")).collect();
    Ok(format!("{before}{added}{END}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_at_the_end_and_the_rest_stays_as_it_is() {
        let file = "{\n  \"Parameters\": {\n    \"B\": \"2\"\n  }\n}\n";
        let after = added(file, r#"{"A": "1"}"#).unwrap();
        assert_eq!(after, "{\n  \"Parameters\": {\n    \"B\": \"2\",\n    \"A\": \"1\"\n  }\n}\n");
        assert!(added(&after, r#"{"A": "1"}"#).unwrap_err().contains("A already"));
        assert!(added("[]", "{}").unwrap_err().contains("must end with"));
    }
}
