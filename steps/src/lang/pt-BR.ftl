# O que as etapas escrevem para as pessoas guardarem. `en.ftl` tem as mesmas chaves.

# Datas e números
date-and-time = %d/%m/%Y %H:%M:%S
decimal-separator = ,
span-ms = { $ms } ms
span-s = { $s } s
span-min = { $min } min { $s } s
span-h = { $h } h { $min } min

# deploy-log: como a execução terminou
status-unsettled = Em andamento
status-succeeded = Sucesso
status-warned = Sucesso (com avisos)
status-rolled-back = Rollback
status-failed = Falha
status-stuck = Falha (rollback incompleto)

# deploy-log: as linhas de um registro
entry-run = Execução: { $run }
entry-times = Início: { $started }; fim: { $ended }; duração: { $duration }
entry-version = Versão: { $version }
entry-version-change = Versão: { $version } (anterior: { $previous })
entry-previous = Versão anterior: { $previous }
entry-downtime = Indisponibilidade: { $downtime }
entry-downtime-approximate = Indisponibilidade: { $downtime } (aprox.)
entry-down = O serviço não responde.
entry-aborted = Desfeita a pedido do operador.
entry-failed = Etapa com falha: { $step }
entry-error = Erro: { $error }
entry-owed = Ainda por desfazer: { $steps }
entry-written-off = Não desfeito: { $steps }

# approval
approval-how = Responda com `almaplan resolve { $run } { $step } done` ou `almaplan resolve { $run } { $step } not-done`.
