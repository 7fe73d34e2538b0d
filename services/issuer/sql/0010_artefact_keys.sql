-- Which key an artefact is signed with, where it is not the one that signed the credential.
ALTER TABLE artefact ADD COLUMN signing_key text;
