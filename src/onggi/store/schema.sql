-- The store's tables, version 2 (PRAGMA user_version; db.py brings older ones here). A row of `layer` or `blob` means that the
-- file is complete and durable; a file without a row is garbage. Reference counts are queries.

CREATE TABLE blob (
    digest TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE layer (
    diff_id TEXT PRIMARY KEY,
    tar_bytes INTEGER NOT NULL CHECK (tar_bytes >= 0),
    depends INTEGER NOT NULL CHECK (depends IN (0, 1)),  -- hard links to files of lower layers
    opaque INTEGER NOT NULL CHECK (opaque IN (0, 1)),    -- hides all layers below
    verified_boot TEXT NOT NULL                          -- boot in which its bytes were hashed
) STRICT, WITHOUT ROWID;

-- What of a layer is on disk. Every layer has its verbatim tar in one of them: `tar`, or the
-- `erofs` of a layer that does not depend on others.
CREATE TABLE layer_file (
    diff_id TEXT NOT NULL REFERENCES layer ON DELETE CASCADE,
    parent TEXT NOT NULL,                -- chain ID below, for a layer that depends on it; else ""
    form TEXT NOT NULL CHECK (form IN ('tar', 'erofs', 'directory')),
    metadata_digest TEXT NOT NULL,       -- of what an erofs file has around the tar; else ""
    PRIMARY KEY (diff_id, parent, form)
) STRICT, WITHOUT ROWID;

-- Compressed forms of a layer that some registry is known to hold, for exact pushes. `source` is
-- a repository (docker.io/library/python), "" when we compressed it ourselves. Columns of the key
-- come first: else SQLite 3.40's integrity_check sees NULLs that are not there.
CREATE TABLE layer_blob (
    diff_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    source TEXT NOT NULL DEFAULT '',
    size_bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (diff_id, digest, source)
) STRICT, WITHOUT ROWID;

-- Layers that a process is working with and that no image holds yet.
CREATE TABLE lease (
    pid INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (pid, pid_start, boot_id, diff_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE image (
    id TEXT PRIMARY KEY,
    manifest_digest TEXT,
    parent TEXT NOT NULL DEFAULT '',
    created_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_by_parent ON image (parent) WHERE parent <> '';

CREATE TABLE image_layer (
    image_id TEXT NOT NULL REFERENCES image ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layer_by_layer ON image_layer (diff_id);
CREATE INDEX image_layer_by_chain ON image_layer (chain_id);

CREATE TABLE tag (
    reference TEXT PRIMARY KEY,  -- docker.io/library/python:3.11
    image_id TEXT NOT NULL REFERENCES image ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_image ON tag (image_id);

CREATE TABLE repo_digest (
    repository TEXT NOT NULL,    -- docker.io/library/python
    digest TEXT NOT NULL,        -- of the manifest, or of the index it was found in
    image_id TEXT NOT NULL REFERENCES image ON DELETE CASCADE,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_digest_by_image ON repo_digest (image_id);

CREATE TABLE container (
    id TEXT PRIMARY KEY CHECK (length(id) = 64),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    image_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    status TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    config TEXT NOT NULL,        -- spec.container.ContainerConfig as JSON
    state TEXT NOT NULL          -- spec.container.ContainerState as JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX container_by_image ON container (image_id);

CREATE TABLE container_layer (
    container_id TEXT NOT NULL REFERENCES container ON DELETE CASCADE,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (container_id, diff_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_layer_by_layer ON container_layer (diff_id);

CREATE TABLE container_volume (
    container_id TEXT NOT NULL REFERENCES container ON DELETE CASCADE,
    volume TEXT NOT NULL,
    PRIMARY KEY (container_id, volume)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_volume_by_volume ON container_volume (volume);

CREATE TABLE network (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    body TEXT NOT NULL           -- spec.network.Network as JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint (
    network_id TEXT NOT NULL REFERENCES network,
    container_id TEXT NOT NULL,
    address TEXT NOT NULL,
    body TEXT NOT NULL,          -- spec.network.Endpoint as JSON
    PRIMARY KEY (network_id, container_id),
    UNIQUE (network_id, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_by_container ON endpoint (container_id);

CREATE TABLE host_port (
    protocol TEXT NOT NULL,
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    host_ip TEXT NOT NULL,       -- "" is every address
    container_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    PRIMARY KEY (protocol, port, host_ip),
    FOREIGN KEY (network_id, container_id) REFERENCES endpoint ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX host_port_by_endpoint ON host_port (network_id, container_id);

CREATE TABLE volume (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    anonymous INTEGER NOT NULL CHECK (anonymous IN (0, 1)),
    created_ns INTEGER NOT NULL,
    labels TEXT NOT NULL,
    options TEXT NOT NULL DEFAULT '{}'  -- of the driver: type, o, device
) STRICT, WITHOUT ROWID;

-- What a build step made. `inputs` is kept so that a miss can be explained.
CREATE TABLE build_cache (
    key TEXT PRIMARY KEY,
    parent_key TEXT NOT NULL,
    diff_id TEXT NOT NULL,       -- "" when the step made no layer
    layers TEXT NOT NULL,        -- every layer of the result, bottom first, as JSON
    config TEXT NOT NULL,
    inputs TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    last_used_ns INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX build_cache_by_parent ON build_cache (parent_key);
CREATE INDEX build_cache_by_layer ON build_cache (diff_id) WHERE diff_id <> '';

-- Who has which range of user ids (engine/userns): never two containers the same.
CREATE TABLE id_range (
    slot INTEGER PRIMARY KEY CHECK (slot >= 0),
    container_id TEXT NOT NULL UNIQUE REFERENCES container ON DELETE CASCADE
) STRICT;
