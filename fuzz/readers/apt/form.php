<?php
// Shows what PHP read of a form.
$model = $_POST['model'] ?? null;
echo json_encode(['model' => is_string($model) ? base64_encode($model) : $model]);
