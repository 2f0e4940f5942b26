BEGIN TRANSACTION;
CREATE TABLE attempt (
        id INTEGER PRIMARY KEY,
        rollback TEXT NOT NULL,
        seq INTEGER NOT NULL,
        n INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        started_at REAL NOT NULL,
        finished_at REAL,
        outcome TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT ''
    );
INSERT INTO "attempt" VALUES(1,'shop-v41-100',1,1,1,100.0,100.0,'done','');
INSERT INTO "attempt" VALUES(2,'shop-v41-100',2,1,1,100.0,100.0,'done','');
INSERT INTO "attempt" VALUES(3,'shop-v42-150',1,1,1,150.0,NULL,'','');
CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        target TEXT NOT NULL,
        rollback TEXT NOT NULL,
        data TEXT NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL
    );
INSERT INTO "audit" VALUES(1,100.0,'boot','','','{"owner":"old:1"}','','10a44c4bd0956c4b4a7b109d8c67023fca7b3f3b3296f7a08b5dac895fcb7315');
INSERT INTO "audit" VALUES(2,100.0,'rollback_begun','shop','shop-v41-100','{"plan_hash":"abcd","owner":"old:1"}','10a44c4bd0956c4b4a7b109d8c67023fca7b3f3b3296f7a08b5dac895fcb7315','106c8f1b128ee6464e724ff3870e79592bfb69fb328503f3abe33c0e7ccc9d01');
INSERT INTO "audit" VALUES(3,100.0,'step','shop','shop-v41-100','{"seq":1,"state":"started","fence":1}','106c8f1b128ee6464e724ff3870e79592bfb69fb328503f3abe33c0e7ccc9d01','0806cc63db57979de144febcc4b45cd16c4cfeab7f386c9156fbc90ab1d336b3');
INSERT INTO "audit" VALUES(4,100.0,'step','shop','shop-v41-100','{"seq":1,"state":"done","fence":1}','0806cc63db57979de144febcc4b45cd16c4cfeab7f386c9156fbc90ab1d336b3','5af76608f03fb2017b3a9c6bee40c218f1b98dce4481d864051ff47b34c841a2');
INSERT INTO "audit" VALUES(5,100.0,'step','shop','shop-v41-100','{"seq":2,"state":"started","fence":1}','5af76608f03fb2017b3a9c6bee40c218f1b98dce4481d864051ff47b34c841a2','149ac2fef7878d9e997f16d225d9ceb0975db876618893ed4b933c5e51dfc9c0');
INSERT INTO "audit" VALUES(6,100.0,'step','shop','shop-v41-100','{"seq":2,"state":"done","fence":1}','149ac2fef7878d9e997f16d225d9ceb0975db876618893ed4b933c5e51dfc9c0','e7e3bf288e6fb8a24e6c46acb1f4ad237d56064724cd9ad599cd2d5632ddb77d');
INSERT INTO "audit" VALUES(7,100.0,'turn','shop','shop-v41-100','{"state":"succeeded","reason":"","fence":1}','e7e3bf288e6fb8a24e6c46acb1f4ad237d56064724cd9ad599cd2d5632ddb77d','4619956bbd63f8f61c927066ea9a41915eba90d3f310b7fc6cc1b5daf8b39fde');
INSERT INTO "audit" VALUES(8,150.0,'rollback_begun','shop','shop-v42-150','{"plan_hash":"abcd","owner":"old:1"}','4619956bbd63f8f61c927066ea9a41915eba90d3f310b7fc6cc1b5daf8b39fde','e91b0b3a44c100f08f54b507ad95f9b18a6c98842d78f46b7d160d5a0edfd8e9');
INSERT INTO "audit" VALUES(9,150.0,'step','shop','shop-v42-150','{"seq":1,"state":"started","fence":1}','e91b0b3a44c100f08f54b507ad95f9b18a6c98842d78f46b7d160d5a0edfd8e9','f5891c5534c3e5c4129175b3e2beadfd00050fe7a5312e02a04638daeb359ea5');
INSERT INTO "audit" VALUES(10,150.0,'paused','shop','','{"target":"shop","at":150,"until":9999,"by":"ann","reason":"sale"}','f5891c5534c3e5c4129175b3e2beadfd00050fe7a5312e02a04638daeb359ea5','a3a652d5f3af93c5ace86209c8410cc1c78ac20aa8c474f8d9a4560429fff90a');
CREATE TABLE blob (key TEXT PRIMARY KEY, body TEXT NOT NULL, updated_at REAL NOT NULL);
INSERT INTO "blob" VALUES('ledger/shop','{"good":[41]}',150.0);
CREATE TABLE claim (
        rollback TEXT NOT NULL REFERENCES rollback (id),
        fence INTEGER NOT NULL,
        owner TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (rollback, fence)
    );
CREATE TABLE fact (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        target TEXT NOT NULL,
        kind TEXT NOT NULL,
        rollback TEXT NOT NULL DEFAULT '',
        body TEXT NOT NULL
    );
INSERT INTO "fact" VALUES(1,100.0,'shop','rollback_started','shop-v41-100','{"target":"shop","at":100.0,"rollback":"shop-v41-100","bad":{"version":41,"image":"shop:41","status":"complete","content":"content-41","created_at":null,"id":"","author":"","commit":""},"good":{"version":41,"image":"shop:41","status":"complete","content":"content-41","created_at":null,"id":"","author":"","commit":""},"automatic":true,"trigger":"errors"}');
INSERT INTO "fact" VALUES(2,100.0,'shop','rollback_ended','shop-v41-100','{"target":"shop","at":100.0,"rollback":"shop-v41-100","outcome":"recovered","detail":"","recovered_at":null,"proved_at":null}');
INSERT INTO "fact" VALUES(3,150.0,'shop','rollback_started','shop-v42-150','{"target":"shop","at":150.0,"rollback":"shop-v42-150","bad":{"version":42,"image":"shop:42","status":"complete","content":"content-42","created_at":null,"id":"","author":"","commit":""},"good":{"version":41,"image":"shop:41","status":"complete","content":"content-41","created_at":null,"id":"","author":"","commit":""},"automatic":true,"trigger":"errors"}');
INSERT INTO "fact" VALUES(4,150.0,'shop','paused','','{"target":"shop","at":150,"until":9999,"by":"ann","reason":"sale"}');
CREATE TABLE incident (
        id TEXT PRIMARY KEY,
        target TEXT NOT NULL,
        dedupe_key TEXT UNIQUE,
        trigger TEXT,
        opened_at REAL NOT NULL
    );
INSERT INTO "incident" VALUES('shop-v41-100','shop','shop|v41','errors',100.0);
INSERT INTO "incident" VALUES('shop-v42-150','shop','shop|v42','errors',150.0);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created_at','100.0');
INSERT INTO "meta" VALUES('instance','1c3dba1fee9b44c3af402f58f28ea8c3');
INSERT INTO "meta" VALUES('schema_version','1');
CREATE TABLE rollback (
        id TEXT PRIMARY KEY,
        incident TEXT NOT NULL REFERENCES incident (id),
        target TEXT NOT NULL,
        decision TEXT NOT NULL,
        plan TEXT NOT NULL,
        plan_hash TEXT NOT NULL,
        state TEXT NOT NULL,
        outcome TEXT,
        reason TEXT NOT NULL DEFAULT '',
        fence INTEGER NOT NULL DEFAULT 1,
        owner TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        finished_at REAL
    );
INSERT INTO "rollback" VALUES('shop-v41-100','shop-v41-100','shop','{"target":"shop","at":100.0,"trigger":"errors","bad":{"version":41,"image":"shop:41","status":"complete","content":"content-41","created_at":null,"id":"","author":"","commit":""},"good":{"version":41,"image":"shop:41","status":"complete","content":"content-41","created_at":null,"id":"","author":"","commit":""},"plan":"app","why":"","requested_by":"rollbackd","onset_at":null,"later_version":null,"evidence":{"odds":"inf"},"verdicts":[{"trigger":"errors","state":"breached","since":90.0,"value":"inf","threshold":null,"samples":0,"why":"","evidence":{}}]}','{"rollback":"shop-v41-100","target":"shop","name":"app","from_version":41,"to_version":41,"steps":[{"seq":1,"phase":"checklist","kind":"notify","name":"notify 1","params":{"machine":"m1"},"op_key":"rb:shop-v41-100:1:abcd","mutates":false},{"seq":2,"phase":"execute","kind":"update","name":"update 2","params":{"machine":"m2"},"op_key":"rb:shop-v41-100:2:abcd","mutates":true},{"seq":3,"phase":"execute","kind":"update","name":"update 3","params":{"machine":"m3"},"op_key":"rb:shop-v41-100:3:abcd","mutates":true},{"seq":4,"phase":"verify","kind":"verify","name":"verify 4","params":{"machine":"m4"},"op_key":"rb:shop-v41-100:4:abcd","mutates":false},{"seq":5,"phase":"post_verification","kind":"prove","name":"prove 5","params":{"machine":"m5"},"op_key":"rb:shop-v41-100:5:abcd","mutates":false}],"parallel":1,"deadline_at":1000000000000.0,"hash":"abcd","settings":{"app":"shop"},"notes":["machine m9 is unreachable"]}','abcd','succeeded','recovered','',1,'old:1',100.0,100.0,100.0);
INSERT INTO "rollback" VALUES('shop-v42-150','shop-v42-150','shop','{"target":"shop","at":150.0,"trigger":"errors","bad":{"version":42,"image":"shop:42","status":"complete","content":"content-42","created_at":null,"id":"","author":"","commit":""},"good":{"version":41,"image":"shop:41","status":"complete","content":"content-41","created_at":null,"id":"","author":"","commit":""},"plan":"app","why":"","requested_by":"rollbackd","onset_at":null,"later_version":null,"evidence":{"odds":"inf"},"verdicts":[{"trigger":"errors","state":"breached","since":90.0,"value":"inf","threshold":null,"samples":0,"why":"","evidence":{}}]}','{"rollback":"shop-v42-150","target":"shop","name":"app","from_version":42,"to_version":41,"steps":[{"seq":1,"phase":"checklist","kind":"notify","name":"notify 1","params":{"machine":"m1"},"op_key":"rb:shop-v42-150:1:abcd","mutates":false},{"seq":2,"phase":"execute","kind":"update","name":"update 2","params":{"machine":"m2"},"op_key":"rb:shop-v42-150:2:abcd","mutates":true},{"seq":3,"phase":"execute","kind":"update","name":"update 3","params":{"machine":"m3"},"op_key":"rb:shop-v42-150:3:abcd","mutates":true},{"seq":4,"phase":"verify","kind":"verify","name":"verify 4","params":{"machine":"m4"},"op_key":"rb:shop-v42-150:4:abcd","mutates":false},{"seq":5,"phase":"post_verification","kind":"prove","name":"prove 5","params":{"machine":"m5"},"op_key":"rb:shop-v42-150:5:abcd","mutates":false}],"parallel":1,"deadline_at":1000000000000.0,"hash":"abcd","settings":{"app":"shop"},"notes":["machine m9 is unreachable"]}','abcd','pending',NULL,'',1,'old:1',150.0,150.0,NULL);
CREATE TABLE step (
        rollback TEXT NOT NULL REFERENCES rollback (id),
        seq INTEGER NOT NULL,
        phase INTEGER NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        op_key TEXT NOT NULL UNIQUE,
        mutates INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0,
        result TEXT NOT NULL DEFAULT '{}',
        error TEXT NOT NULL DEFAULT '',
        started_at REAL,
        finished_at REAL,
        PRIMARY KEY (rollback, seq)
    );
INSERT INTO "step" VALUES('shop-v41-100',1,0,'notify','notify 1','rb:shop-v41-100:1:abcd',0,'done',1,'{}','',100.0,100.0);
INSERT INTO "step" VALUES('shop-v41-100',2,2,'update','update 2','rb:shop-v41-100:2:abcd',1,'done',1,'{}','',100.0,100.0);
INSERT INTO "step" VALUES('shop-v41-100',3,2,'update','update 3','rb:shop-v41-100:3:abcd',1,'pending',0,'{}','',NULL,NULL);
INSERT INTO "step" VALUES('shop-v41-100',4,3,'verify','verify 4','rb:shop-v41-100:4:abcd',0,'pending',0,'{}','',NULL,NULL);
INSERT INTO "step" VALUES('shop-v41-100',5,7,'prove','prove 5','rb:shop-v41-100:5:abcd',0,'pending',0,'{}','',NULL,NULL);
INSERT INTO "step" VALUES('shop-v42-150',1,0,'notify','notify 1','rb:shop-v42-150:1:abcd',0,'started',1,'{}','',150.0,NULL);
INSERT INTO "step" VALUES('shop-v42-150',2,2,'update','update 2','rb:shop-v42-150:2:abcd',1,'pending',0,'{}','',NULL,NULL);
INSERT INTO "step" VALUES('shop-v42-150',3,2,'update','update 3','rb:shop-v42-150:3:abcd',1,'pending',0,'{}','',NULL,NULL);
INSERT INTO "step" VALUES('shop-v42-150',4,3,'verify','verify 4','rb:shop-v42-150:4:abcd',0,'pending',0,'{}','',NULL,NULL);
INSERT INTO "step" VALUES('shop-v42-150',5,7,'prove','prove 5','rb:shop-v42-150:5:abcd',0,'pending',0,'{}','',NULL,NULL);
CREATE UNIQUE INDEX one_active_rollback_per_target ON rollback (target)
        WHERE state IN ('pending', 'running', 'holding', 'compensating');
CREATE INDEX rollback_by_time ON rollback (target, created_at);
CREATE INDEX attempt_of_step ON attempt (rollback, seq, n);
CREATE INDEX fact_by_kind ON fact (kind, target, id);
CREATE INDEX fact_by_rollback ON fact (rollback, kind, id);
CREATE INDEX audit_by_target ON audit (target, id);
CREATE TRIGGER audit_is_never_rewritten BEFORE UPDATE ON audit
        BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
        WHEN NOT EXISTS (SELECT 1 FROM meta WHERE key = 'pruning')
        BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',10);
INSERT INTO "sqlite_sequence" VALUES('fact',4);
COMMIT;
