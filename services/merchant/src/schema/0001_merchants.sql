CREATE TABLE merchants (
    id           TEXT NOT NULL PRIMARY KEY,
    -- The account that registered it.
    owner        TEXT NOT NULL,
    display_name TEXT NOT NULL,
    city         TEXT NOT NULL,
    legal_name   TEXT NOT NULL,
    nib          TEXT NOT NULL,
    npwp         TEXT NOT NULL,
    -- MerchantState of the contract.
    state        BIGINT NOT NULL,
    version      BIGINT NOT NULL DEFAULT 1,
    create_ms    BIGINT NOT NULL,
    CONSTRAINT merchants_owner UNIQUE (owner),
    CONSTRAINT merchants_nib UNIQUE (nib)
) STRICT;
